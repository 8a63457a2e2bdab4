"""Small made-up street scenes in two looks: enough to learn from within a few iterations."""

import json
import pathlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
CLASSES = {"sky": (70, 130, 180), "road": (128, 64, 128), "car": (0, 0, 142)}


def scene(seed: int, dusk: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image, uint8 [HEIGHT, WIDTH, 3], and its class ids, uint8 [HEIGHT, WIDTH]."""
    rng = np.random.default_rng(seed)
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[HEIGHT // 2 + rng.integers(-6, 6) :] = 1
    top, left = rng.integers(HEIGHT // 2, HEIGHT - 12), rng.integers(0, WIDTH - 20)
    label[top : top + 10, left : left + 18] = 2
    label[:2] = 255
    colors = np.array([[200, 220, 250], [90, 90, 90], [180, 30, 30]] + [[0, 0, 0]] * 253)
    image = colors[label] * (0.45 if dusk else 1.0) + rng.normal(0, 8, (*label.shape, 3))
    return np.clip(image, 0, 255).astype(np.uint8), label


def write_folder(folder: pathlib.Path, count: int, *, dusk: bool, seed: int = 0) -> None:
    """Writes images/NAME.png and labels/NAME.png."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, label = scene(seed + index, dusk)
        Image.fromarray(image).save(folder / "images" / f"{index:03d}.png")
        Image.fromarray(label).save(folder / "labels" / f"{index:03d}.png")


def write_class_file(path: pathlib.Path) -> None:
    """Writes the class file of the scenes."""
    classes = [{"name": name, "color": list(color), "ids": [i]} for i, (name, color) in enumerate(CLASSES.items())]
    path.write_text(json.dumps({"name": "scenes", "classes": classes, "ignore_ids": [255]}))
