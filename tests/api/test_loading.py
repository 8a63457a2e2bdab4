"""`fada_tf.load`: from whatever training or exporting left to masks of pictures, with one line for what cannot be."""

import ast
import doctest
import inspect
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import fada_tf
from fada_tf.api import exported, loading, mask
from fada_tf.data import conversion
from fada_tf.data.datasets import base
from fada_tf.errors import InputError
from fada_tf.evaluation.confusion import confusion_matrix
from fada_tf.export import version
from fada_tf.export.signatures import DEFAULT, ServedSegmenter, ServingOptions
from fada_tf.runs import checkpoint
from tests import scenes
from tests.processes import ROOT


class ClassMaps(ServedSegmenter):
    """What `load` needs of an export: the one signature, which is traced in a third of the time."""

    def signatures(self):
        return {DEFAULT: super().signatures()[DEFAULT]}


@pytest.fixture(scope="module")
def folder(trained_run, tmp_path_factory) -> pathlib.Path:
    """A user's folder: the run as runs/street, pictures, labelled records, and an export of two versions."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "runs").mkdir()
    (folder / "runs/street").symlink_to(trained_run)
    scenes.write_folder(folder / "val", 3, dusk=False)
    scenes.write_class_file(folder / "classes.json")
    Image.fromarray(scenes.scene(9, dusk=False)[0]).save(folder / "street.png")
    places = {"images": f"{folder}/val/images", "labels": f"{folder}/val/labels", "classes": f"{folder}/classes.json"}
    conversion.convert(base.find("folder", **places), str(folder / "records/street_val"))
    for number in (2, 10):
        (folder / f"models/street/{number}").mkdir(parents=True)
    segmenter, classes = checkpoint.load_segmenter(trained_run), checkpoint.run_label_space(trained_run)
    served = ClassMaps(segmenter, classes, ServingOptions(24, 32, max_pixels=10_000))
    version._write_saved_model(served, str(folder / "models/street/10"))
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def street(folder) -> loading.TrainedSegmenter:
    return fada_tf.load(folder / "runs/street")


@pytest.fixture(scope="module")
def served(folder) -> loading.TrainedSegmenter:
    return fada_tf.load(folder / "models/street")


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def test_importing_the_package_is_cheap_and_what_it_offers_is_there():
    code = (
        "import fada_tf, sys\n"
        "print(sorted(name for name in sys.modules if name.startswith(('tensorflow', 'keras', 'numpy', 'fada_tf'))))\n"
        "print({'load', 'adapt'} <= set(dir(fada_tf)))\n"
        "try:\n    fada_tf.laod\nexcept AttributeError as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    told = "module 'fada_tf' has no attribute 'laod': it offers adapt, load"
    assert result.stdout.splitlines() == ["['fada_tf']", "True", told]


def test_pictures_of_every_kind_become_masks_of_their_own_size(street):
    image = np.asarray(Image.open("street.png"))
    one = street.segment("street.png")
    assert one.ids.shape == (48, 64) and one.ids.dtype == np.uint8 and set(np.unique(one.ids)) <= {0, 1, 2}
    assert one.name == "street.png" and one.classes.names == ("sky", "road", "car")
    np.testing.assert_array_equal(one.image, image)
    for same in (pathlib.Path("street.png"), Image.fromarray(image), image, tf.constant(image)):
        np.testing.assert_array_equal(street.segment(same).ids, one.ids)
    several = street.segment(["street.png", pixels(20, 30, 3), np.stack([image, image])])
    assert [each.ids.shape for each in several] == [(48, 64), (20, 30), (48, 64), (48, 64)]
    for place in (0, 2, 3):
        np.testing.assert_array_equal(several[place].ids, one.ids)
    assert [each.name for each in street.segment("val/images")] == [f"val/images/00{i}.png" for i in range(3)]
    assert street.segment([]) == [] and len(street.segment(["street.png"])) == 1


def test_a_mask_is_shown_saved_and_described(street, tmp_path):
    found = street.segment("street.png")
    path = tmp_path / "new" / "mask.png"
    found.save(path)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), found.ids)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), found.overlay(opacity=1))
    np.testing.assert_array_equal(found.overlay(0), found.image)
    assert 0 < np.abs(found.overlay().astype(int) - found.image).max() <= 128
    assert found._repr_png_().startswith(b"\x89PNG")
    shares = list(found.shares.values())
    assert sum(shares) == pytest.approx(1) and shares == sorted(shares, reverse=True)
    assert repr(found).startswith("<Mask of street.png, 48 x 64 pixels: ") and f"{max(found.shares)} " in repr(found)
    large = mask.Mask(np.zeros((3000, 10), np.uint8), np.zeros((3000, 10, 3), np.uint8), found.classes)
    assert len(large._repr_png_()) < 10_000


@pytest.mark.parametrize("name", ["street", pytest.param("served", marks=pytest.mark.slow)])
def test_scores_are_those_of_the_masks(name, request):
    segmenter = request.getfixturevalue(name)
    confusion = sum(
        confusion_matrix(np.asarray(Image.open(f"val/labels/00{i}.png")), found.ids, 3).numpy()
        for i, found in enumerate(segmenter.segment("val/images"))
    )
    scores = segmenter.evaluate("records/street_val")
    np.testing.assert_array_equal(scores.confusion, confusion)
    assert confusion.sum() and "mean IoU" in scores.table()


@pytest.mark.parametrize(
    "options",
    [
        {"flip": True},
        *(
            pytest.param(more, marks=pytest.mark.slow)
            for more in ({"scales": (1, 2)}, {"window": "16x16"}, {"height": 40})
        ),
    ],
)
def test_options_change_how_pictures_are_seen(street, options):
    image = np.asarray(Image.open("street.png"))
    ids = fada_tf.load(checkpoint.checkpoint_path("runs/street"), **options).segment(image).ids
    assert ids.shape == image.shape[:2] and (ids != street.segment(image).ids).any()


def test_an_export_sees_what_its_run_sees(street, served):
    images = ["street.png", pixels(30, 20, 3)]
    for one, other in zip(street.segment(images), served.segment(images), strict=True):
        assert (one.ids == other.ids).mean() > 0.99  # convolutions have another form there, and near ties may turn
    assert served.classes == street.classes and exported.find_export("models/street").endswith("/10")


def refused(call, *arguments, **options) -> str:
    """Returns the one line that a call is refused with."""
    with pytest.raises(InputError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_loaded_or_seen_gets_one_line(street, served, tmp_path):
    load = fada_tf.load
    assert "nowhere is no folder and no checkpoint: name a run directory" in refused(load, "nowhere")
    assert "val holds no checkpoint: name a run directory" in refused(load, "val")
    assert "scales are '0': give numbers above 0" in refused(load, "runs/street", scales=[0])
    assert refused(load, "runs/street", stride="8x8").startswith("stride is '8x8' without a window: give window=")
    assert "holds no teacher" in refused(load, "runs/street", network="teacher")
    assert refused(load, "models/street", flip=True).startswith("flip=True cannot be changed in models/street")
    assert "models/street refuses a picture of 101 x 100 pixels" in refused(
        served.segment, pixels(101, 100, 3)
    ).replace("/10 ", " ")
    assert "cannot be read" in refused(street.segment, ["street.png", "classes.json"])
    assert "gone.png does not exist" in refused(street.segment, "gone.png")
    assert "of the shape ()" in refused(street.segment, 7)
    assert "runs/street names no evaluation records: give" in refused(fada_tf.load("runs/street").evaluate)
    assert "nowhere" in refused(street.evaluate, "nowhere")
    found = street.segment("street.png")
    assert "x.jpg does not end in .png" in refused(found.save, "x.jpg")
    assert "cannot be written (File exists)" in refused(found.save, "street.png/mask.png")
    assert "opacity is 50" in refused(found.overlay, 50)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / version.GRAPH).write_bytes(b"no graph")
    assert "is no model of fada-tf export_model" in refused(load, tmp_path)


@pytest.mark.slow
def test_the_page_of_python_runs(capsys):
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/python.md").read_text(), re.MULTILINE | re.DOTALL)
    adaptation = [block for block in blocks if "fada_tf.adapt(" in block]
    assert len(adaptation) == 1 and len(blocks) > 5
    for block in blocks:
        if block not in adaptation:  # minutes: the notebook, a slow test, does the same
            exec(block, names)
    keywords = ast.parse(adaptation[0]).body[0].value.keywords
    inspect.signature(fada_tf.adapt).bind("", "", **{word.arg: "" for word in keywords})
    names["on_progress"]("source", 20, 20, {"mean_iou": 0.25})
    assert "source, 20 of 20: mean IoU 25.0 %" in capsys.readouterr().out
    assert names["large"].segment("street.png").ids.shape == (48, 64)


@pytest.mark.slow
@pytest.mark.parametrize("module", [loading, mask])
def test_examples_run(module):
    failures, tried = doctest.testmod(module, extraglobs={"fada_tf": fada_tf, "np": np}, verbose=False)
    assert tried > 1 and not failures
    assert module is loading or os.path.exists("street_mask.png")
