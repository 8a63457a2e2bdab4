"""Every kind of network is exported, to every format, with the probabilities that it has here."""

import json
import pathlib

import pytest

from fada_tf.config import ModelConfig
from fada_tf.export import version
from tests import trained

NETWORKS = {"efficientnet_lite0": ModelConfig("efficientnet_lite0")}
FORMATS = {"litert": "ai_edge_litert", "onnx": "tf2onnx"}  # and the package of the extra of that name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), FORMATS.items())
@pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.filterwarnings("ignore")  # the converters warn of TensorFlow's and numpy's plans
def test_exports_compute_the_same(model, name, package, tmp_path):
    pytest.importorskip(package, reason=f"{package} is in the extra {name}")
    plan = trained.plan(trained.write_run(tmp_path, model), tmp_path, formats=(name,))
    path = pathlib.Path(version.export_version(plan, trained.pictures(2)))
    parity = json.loads((path / version.MANIFEST).read_text())["parity"]
    assert name in parity
    for of, found in parity.items():
        assert found["difference"] <= (5e-4 if of in FORMATS else 1e-4), of
