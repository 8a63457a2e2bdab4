"""The torch side of benchmark_input, which starts it: a DataLoader with Pillow on the same raw files.

fada-tf benchmark_torch_loader --folder=DIR --seconds=5

Needs only torch, numpy and Pillow. Prints {"pairs_per_second": ...}.
"""

import argparse
import json
import os
import random
import sys
import time

SOURCE_TRAINED, TARGET_TRAINED = (1280, 720), (1024, 512)  # width, height, as Pillow wants them


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="holds source, source_labels and target")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the measurement")
    arguments = parser.parse_args()
    import torch

    loader = torch.utils.data.DataLoader(_pairs(arguments.folder), batch_size=1, num_workers=os.cpu_count())
    elements = iter(loader)
    for _ in range(4):
        next(elements)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < arguments.seconds:
        next(elements)
        count += 1
    sys.stdout.write(json.dumps({"pairs_per_second": count / (time.perf_counter() - start)}))
    sys.stdout.flush()
    os._exit(0)  # the workers are in the middle of an endless epoch


def _pairs(folder: str):
    import numpy as np
    import torch
    from PIL import Image

    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    table = np.full(256, 255, np.uint8)
    table[ids] = range(19)
    images = sorted(os.listdir(os.path.join(folder, "source")))

    def to_tensor(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 10**9

        def __getitem__(self, index: int):
            name = images[index % len(images)]
            source = Image.open(os.path.join(folder, "source", name)).convert("RGB")
            label = Image.open(os.path.join(folder, "source_labels", os.path.splitext(name)[0] + ".png"))
            target = Image.open(os.path.join(folder, "target", name)).convert("RGB")
            label = Image.fromarray(table[np.asarray(label)]).resize(SOURCE_TRAINED, Image.Resampling.NEAREST)
            source = _color_jitter(source).resize(SOURCE_TRAINED, Image.Resampling.BICUBIC)
            target = target.resize(TARGET_TRAINED, Image.Resampling.BICUBIC)
            return to_tensor(source), torch.from_numpy(np.array(label)), to_tensor(target)

    return Pairs()


def _color_jitter(image):
    """Does what torchvision's ColorJitter(0.5, 0.5, 0.5, 0.2) does with a Pillow image."""
    import numpy as np
    from PIL import Image, ImageEnhance

    def turn_hue(image):
        hue, saturation, value = image.convert("HSV").split()
        turned = np.array(hue) + np.uint8(int(random.uniform(-0.2, 0.2) * 255) % 256)
        return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")

    def enhance(kind):
        return lambda image: kind(image).enhance(random.uniform(0.5, 1.5))

    adjustments = [
        enhance(ImageEnhance.Brightness),
        enhance(ImageEnhance.Contrast),
        enhance(ImageEnhance.Color),
        turn_hue,
    ]
    random.shuffle(adjustments)
    for adjust in adjustments:
        image = adjust(image)
    return image


if __name__ == "__main__":
    main()
