"""Prints what converting data sets costs, measured on made-up images of their sizes and encodings.

python -m tests.conversion_speed     (seconds of one core, which other processes hardly disturb; memory and disks do)
"""

import io
import json
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fada_tf.data import conversion
from fada_tf.data.datasets import gta5, idd, synthia, urbansyn
from fada_tf.data.datasets.base import DataSet, Pair
from fada_tf.data.label_files import CITYSCAPES_TRAIN_IDS, LabelFiles
from fada_tf.data.labels import CITYSCAPES19, CITYSCAPES_ID_MAP, SYNTHIA_ID_MAP
from tests.data import makers

IDS = LabelFiles(CITYSCAPES19, CITYSCAPES_ID_MAP, "are none")
SYNTHIA = LabelFiles(CITYSCAPES19, SYNTHIA_ID_MAP, "are none", synthia.read_label)
_MEASURED = 3  # images


@dataclass(frozen=True)
class Kind:
    """Images of a data set: how many there are, of what size, and how images and labels are encoded."""

    count: int
    height: int
    width: int
    suffix: str = ".png"
    labels: LabelFiles | None = CITYSCAPES_TRAIN_IDS
    label: str = "ids"


KINDS = {
    "gta5": Kind(24_966, 1052, 1914, labels=gta5.LABELS, label="palette"),
    "synthia": Kind(9_400, 760, 1280, labels=SYNTHIA, label="16 bits"),
    "urbansyn": Kind(7_539, 1024, 2048, labels=urbansyn.LABELS, label="channels"),
    "synscapes": Kind(25_000, 720, 1440, labels=IDS),
    "cityscapes train, val": Kind(3_475, 1024, 2048, labels=IDS),
    "foggy_cityscapes train, val": Kind(3_475, 1024, 2048, labels=IDS),
    "crosscity train": Kind(3_200, 1024, 2048, ".jpg", labels=None),
    "acdc train, val": Kind(2_006, 1080, 1920),
    "dark_zurich train night": Kind(2_416, 1080, 1920, labels=None),
    "nighttime_driving": Kind(50, 1080, 1920),
    "bdd100k train, val": Kind(8_000, 720, 1280, ".jpg"),
    "mapillary training, validation": Kind(20_000, 2448, 3264, ".jpg", label="palette"),
    "idd train, val of part I": Kind(7_974, 1080, 1920, labels=idd.LABELS, label="polygons"),
    "muses train, val": Kind(1_750, 1080, 1920),
}


def _photo(height: int, width: int, seed: int) -> np.ndarray:
    """Returns waves with grain, which a PNG holds in 1.2 bytes a pixel, as it does street scenes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 127 + 60 * np.sin(y / 90 + 6 * random.random(3)[:, None, None]) * np.cos(x / 130)
    return np.clip(waves + 2 * random.standard_normal((height, width)), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _label(kind: Kind) -> bytes:
    """Returns a label file of stripes and squares of every class."""
    rows, columns = np.mgrid[: kind.height, : kind.width]
    ids = ((rows * 5 // kind.height + columns * 20 // kind.width) % 19).astype(np.uint8)
    buffer = io.BytesIO()
    if kind.label == "16 bits":
        return makers.png16(np.stack([ids, ids * 0, ids * 0], axis=2).astype(np.uint16))
    if kind.label == "polygons":
        names = [name for name in CITYSCAPES19.names if name != "terrain"]
        size = kind.height // 10
        boxes = [(names[i % 18], i % 10 * size, i // 10 * size) for i in range(60)]
        objects = [
            {"label": name, "polygon": [[x, y], [x + size, y], [x + size, y + size], [x, y + size]], "deleted": 0}
            for name, x, y in boxes
        ]
        return json.dumps({"imgHeight": kind.height, "imgWidth": kind.width, "objects": objects}).encode()
    image = Image.fromarray(np.stack([ids, ids, ids, ids * 0 + 255], axis=2) if kind.label == "channels" else ids)
    if kind.label == "palette":
        image.putpalette(np.arange(768, dtype=np.uint16).astype(np.uint8).tobytes())
    image.save(buffer, "PNG")
    return buffer.getvalue()


def measure(kind: Kind, images: int = _MEASURED) -> tuple[float, float]:
    """Converts some images, after one that is not counted.

    Returns:
      Seconds of a core and megabytes of a record, an image.
    """
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for i in range(images + 1):
            image = makers.save(f"{folder}/images/{i}{kind.suffix}", _photo(kind.height, kind.width, i))
            if kind.labels is not None:
                with open(f"{folder}/{i}.label", "wb") as file:
                    file.write(_label(kind))
            label = f"{folder}/{i}.label" if kind.labels else None
            pairs.append(Pair(f"{i}{kind.suffix}", image, label))
        conversion.convert(DataSet(tuple(pairs[:1]), kind.labels), f"{folder}/first")
        before = time.process_time()
        manifest = conversion.convert(DataSet(tuple(pairs[1:]), kind.labels), f"{folder}/out").manifest
        seconds = time.process_time() - before
        return seconds / images, sum(shard.size for shard in manifest.shards) / images / 1e6


def line(name: str, kind: Kind, seconds: float, megabytes: float) -> str:
    """Returns a row of the table in docs/data_sets.md."""
    hours, gigabytes = kind.count * seconds / 3600, kind.count * megabytes / 1e3
    pixels = f"{kind.width}x{kind.height} {kind.suffix[1:]}"
    return f"| {name} | {kind.count:,} | {pixels} | {1 / seconds:.1f} | {60 * hours:.0f} | {gigabytes:.1f} |"


if __name__ == "__main__":
    for each, its_kind in KINDS.items():
        sys.stdout.write(line(each, its_kind, *measure(its_kind)) + "\n")
        sys.stdout.flush()
