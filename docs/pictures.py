"""Makes the pictures of README.md and the tutorial out of what scripts/demo.sh wrote.

bash scripts/demo.sh && python docs/pictures.py

A strip has a row for each of a few test images: the picture, what is seen after training on the source only, what after
adaptation, and the truth. They are evenly spaced by name, so that none is chosen for its looks. What predict and the
training of the last stage wrote are shown for the tutorial. The report is taken as Chromium shows it, if that is
installed.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fada_tf.data.labels import ClassFile
from fada_tf.experiment_file import ExperimentFile

ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ROOT / "demo" / "target_val" / "images"
OUTPUT = ROOT / "docs" / "pictures"
LABELS = ROOT / "demo" / "target_val" / "labels"
WIDTH, HEIGHT, GAP, TITLE = 320, 240, 6, 30  # pixels


def main() -> None:
    """Segments the images with both runs, unless that is done, and writes the strip and the picture of the report."""
    first, *_, last = ExperimentFile(str(ROOT / "configs" / "demo.py")).stages
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--demo", type=pathlib.Path, default=ROOT / "demo_output", help="what scripts/demo.sh wrote")
    parser.add_argument("--adapted", default=last.name, help="stage of the third column (%(default)s)")
    parser.add_argument("--title", default=last.title, help="title of the third column (%(default)s)")
    parser.add_argument("--rows", type=int, default=3, help="number of test images (%(default)s)")
    options = parser.parse_args()
    images = sorted(IMAGES.glob("*.jpg"))
    chosen = [images[index] for index in np.linspace(0, len(images) - 1, options.rows).round().astype(int)]
    seen = [_predictions(options.demo, stage) for stage in (first.name, options.adapted)]
    colors = ClassFile.load(str(ROOT / "configs" / "classes" / "camvid11.json"))
    rows = [
        [
            Image.open(image).convert("RGB"),
            *(Image.open(folder / "masks" / f"{image.stem}.png").convert("RGB") for folder in seen),
            _truth(LABELS / f"{image.stem}.png", colors),
        ]
        for image in chosen
    ]
    strip = _strip(rows, ["picture", first.title, options.title, "truth"])
    strip.save(OUTPUT / "demo.jpg", quality=85, optimize=True)
    overlays = [Image.open(folder / "overlays" / f"{chosen[0].stem}.png").convert("RGB") for folder in seen]
    _strip([overlays], ["my/before/overlays", "my/after/overlays"]).save(OUTPUT / "overlays.jpg", quality=85)
    learned = options.demo / "runs" / options.adapted / "pictures" / "mixed.png"
    Image.open(learned).convert("RGB").save(OUTPUT / "mixed.jpg", quality=85)
    if browser := shutil.which("chromium") or shutil.which("google-chrome"):
        _page(browser, options.demo / "report.html").save(OUTPUT / "report.png", optimize=True)


def _predictions(demo: pathlib.Path, stage: str) -> pathlib.Path:
    """Returns what predict wrote with a stage's newest checkpoint; it is made if it is not there."""
    output = demo / "pictures" / stage
    if not (output / "masks").exists():
        command = [sys.executable, "-m", "fada_tf", "predict", f"--checkpoint={demo / 'runs' / stage}"]
        subprocess.run([*command, f"--images={IMAGES}", f"--output={output}"], check=True, cwd=ROOT)
    return output


def _truth(label: pathlib.Path, classes: ClassFile) -> Image.Image:
    ids = classes.id_map[np.asarray(Image.open(label))]
    palette = np.zeros((256, 3), np.uint8)
    palette[: classes.label_space.num_classes] = classes.label_space.colors
    return Image.fromarray(palette[ids])


def _page(browser: str, page: pathlib.Path) -> Image.Image:
    """Returns the top of a page as a browser shows it."""
    with tempfile.TemporaryDirectory() as folder:
        picture = pathlib.Path(folder) / "page.png"
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1000,800"]
        subprocess.run([browser, *options, f"--screenshot={picture}", page.resolve().as_uri()], check=True)
        return Image.open(picture).convert("RGB").quantize(64)


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
