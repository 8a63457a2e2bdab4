"""Sliding windows in an exported graph, and in files of other formats."""

import dataclasses
import io
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf.data.images import encode_png
from fada_tf.evaluation.prediction import Predictor
from fada_tf.evaluation.views import Views
from fada_tf.export import portable
from fada_tf.export.signatures import ServedSegmenter, ServingOptions
from fada_tf.export.version import export_version
from fada_tf.runs import checkpoint
from fada_tf.windows import Windows
from tests import trained

WINDOWS = Windows((32, 40), (20, 30), "softmax")
OPTIONS = ServingOptions(0, 0, Views(windows=WINDOWS), max_pixels=100_000, max_batch=3)


def test_a_graph_sees_pictures_of_several_sizes_by_windows_as_the_predictor_does(trained_run):
    segmenter, pictures = checkpoint.load_segmenter(trained_run), trained.pictures()
    served = ServedSegmenter(segmenter, checkpoint.run_label_space(trained_run), OPTIONS)
    function, spec = served.signatures()["encoded"]
    outputs = tf.function(function, [spec], autograph=False)(tf.constant([encode_png(each) for each in pictures]))
    predictor = Predictor(segmenter, 0, 0, Views(windows=WINDOWS))
    for picture, png in zip(pictures, outputs["mask_png_bytes"].numpy(), strict=True):
        class_map = np.asarray(Image.open(io.BytesIO(png)))
        assert class_map.shape == picture.shape[:2]
        expected = predictor(picture)
        assert len(np.unique(expected)) > 1
        assert np.mean(class_map == expected) > 0.999


def test_files_of_other_formats_take_a_window_and_say_so(trained_run):
    space = checkpoint.run_label_space(trained_run)
    texts = portable.metadata(space, OPTIONS)
    assert portable.input_size(OPTIONS) == (32, 40)
    assert "float32 [1, 32, 40, 3]" in texts["input.txt"] and "resize(" not in texts["input.txt"]
    assert Windows.parse(**json.loads(texts["windows.json"])) == WINDOWS
    resized = portable.metadata(space, ServingOptions(60, 80, Views(windows=WINDOWS)))
    assert "[1, 32, 40, 3]" in resized["input.txt"] and "resize((80, 60)" in resized["input.txt"]


@pytest.mark.slow  # traces, saves and loads a model
def test_an_export_by_windows_equals_the_trained_model_and_is_described(trained_run, tmp_path):
    pytest.importorskip("ai_edge_litert.interpreter")
    # Of logits: where two windows are each sure of another class, the mean of their softmaxes is a tie.
    views = Views(windows=dataclasses.replace(WINDOWS, average="logits"))
    options = dataclasses.replace(OPTIONS, views=views)
    plan = trained.plan(trained_run, tmp_path, options=options, formats=("litert",))
    folder = pathlib.Path(export_version(plan, trained.pictures()))
    manifest = json.loads((folder / "assets.extra/manifest.json").read_text())
    assert manifest["options"]["views"]["windows"] == {"window": [32, 40], "stride": [20, 30], "average": "logits"}
    assert set(manifest["parity"]) == {"serving_default", "encoded", "litert"}
    assert all(parity["difference"] < 1e-4 for parity in manifest["parity"].values())
