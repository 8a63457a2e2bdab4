"""Transformers with adapters are exported with them merged, in all formats."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.config import ModelConfig
from fada_tf.export import version
from fada_tf.export.signatures import ServingOptions
from fada_tf.models.lora import is_adapter
from fada_tf.models.segmenter import Segmenter
from fada_tf.runs import checkpoint
from tests import trained

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("networks_of_the_tests")]
VITS = ("vit_tiny", "vit_tiny_registers", "rotary_tiny")


def randomize_adapters(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(5)
    for variable in filter(is_adapter, segmenter.feature_extractor.variables):
        variable.assign(0.3 * rng.standard_normal(variable.shape))
    for variable in segmenter.classifier.variables:  # sharp, but not beyond float32's precision
        variable.assign(variable / 60)


@pytest.mark.filterwarnings("ignore")  # the converters warn of TensorFlow's and numpy's plans
@pytest.mark.parametrize(("form", "package"), [("", "tensorflow"), ("litert", "ai_edge_litert"), ("onnx", "tf2onnx")])
@pytest.mark.parametrize(("backbone", "head"), [(name, "vfm_uda") for name in VITS] + [("mix_tiny", "segformer")])
def test_all_formats_compute_the_same(tmp_path, backbone, head, form, package):
    pytest.importorskip(package, reason=f"{package} is in the extra {form}")
    model = ModelConfig(backbone, head=head, trainable="lora", lora_rank=4)
    size = (32, 64) if backbone == "rotary_tiny" else (42, 56)
    run = trained.write_run(tmp_path, model, size, change=randomize_adapters)
    options = ServingOptions(*size, max_pixels=100_000, max_batch=3)
    plan = trained.plan(run, tmp_path, options=options, **({"formats": (form,)} if form else {}))
    path = version.export_version(plan, trained.pictures(2))
    parities = json.loads(pathlib.Path(path, version.MANIFEST).read_text())["parity"]
    if form:
        assert parities.pop(form)["difference"] < 5e-4
    assert parities and all(parity["difference"] < 1e-4 for parity in parities.values())
    served = tf.saved_model.load(path)
    count = len(checkpoint.load_segmenter(run).variables)
    assert len({variable.name: 0 for variable in served.signatures["serving_default"].variables}) <= count
