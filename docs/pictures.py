"""Makes the strip of pictures on README.md out of a run of the demo: picture, source only, adapted, truth.

bash scripts/demo.sh && python docs/pictures.py

The pictures are of the demo's test images, evenly spaced by name, so that none is chosen for its looks.
"""

import argparse
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fada_tf.data.labels import ClassFile

ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ROOT / "demo" / "target_val" / "images"
LABELS = ROOT / "demo" / "target_val" / "labels"
WIDTH, HEIGHT, GAP, TITLE = 320, 240, 6, 30  # pixels


def main() -> None:
    """Segments the images with both runs, unless that is done, and writes the strip."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--demo", type=pathlib.Path, default=ROOT / "demo_output", help="what scripts/demo.sh wrote")
    parser.add_argument("--adapted", default="adversarial", help="stage of the third column")
    parser.add_argument("--title", default="adapted (FADA)", help="title of the third column")
    parser.add_argument("--rows", type=int, default=3, help="number of pictures")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs" / "pictures" / "demo.jpg")
    options = parser.parse_args()
    images = sorted(IMAGES.glob("*.jpg"))
    chosen = [images[index] for index in np.linspace(0, len(images) - 1, options.rows).round().astype(int)]
    masks = {stage: _masks(options.demo, stage) for stage in ("source", options.adapted)}
    colors = ClassFile.load(str(ROOT / "configs" / "classes" / "camvid11.json"))
    rows = [
        [
            Image.open(image).convert("RGB"),
            *(Image.open(folder / f"{image.stem}.png").convert("RGB") for folder in masks.values()),
            _truth(LABELS / f"{image.stem}.png", colors),
        ]
        for image in chosen
    ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    _strip(rows, ["picture", "source only", options.title, "truth"]).save(options.output, quality=85, optimize=True)


def _masks(demo: pathlib.Path, stage: str) -> pathlib.Path:
    """Returns the folder of the masks of a stage's best checkpoint, which it makes if it is not there."""
    output = demo / "pictures" / stage
    if not (output / "masks").exists():
        command = [sys.executable, "-m", "fada_tf", "predict", f"--checkpoint={demo / 'runs' / stage}"]
        subprocess.run([*command, f"--images={IMAGES}", f"--output={output}"], check=True, cwd=ROOT)
    return output / "masks"


def _truth(label: pathlib.Path, classes: ClassFile) -> Image.Image:
    ids = classes.id_map[np.asarray(Image.open(label))]
    palette = np.zeros((256, 3), np.uint8)
    palette[: classes.label_space.num_classes] = classes.label_space.colors
    return Image.fromarray(palette[ids])


def _strip(rows: list[list[Image.Image]], titles: list[str]) -> Image.Image:
    columns = len(titles)
    size = columns * WIDTH + (columns - 1) * GAP, TITLE + len(rows) * (HEIGHT + GAP) - GAP
    strip = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(18)
    for column, title in enumerate(titles):
        left = column * (WIDTH + GAP)
        draw.text((left + WIDTH / 2, TITLE / 2), title, "black", font, anchor="mm")
        for row, pictures in enumerate(rows):
            strip.paste(pictures[column].resize((WIDTH, HEIGHT)), (left, TITLE + row * (HEIGHT + GAP)))
    return strip


if __name__ == "__main__":
    main()
