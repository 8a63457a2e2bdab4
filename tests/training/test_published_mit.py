"""Mix Transformers in files of NVlabs' and Hugging Face's become initial weights, and go back."""

import numpy as np
import pytest

from fada_tf.config import ModelConfig
from fada_tf.errors import InputError
from fada_tf.models import torch_files
from fada_tf.models.published_weights import to_published
from fada_tf.models.segmenter import build_segmenter, find_backbone
from fada_tf.models.weights import load_initial_weights
from fada_tf.runs import checkpoint
from fada_tf.training import weight_conversion
from tests import trained
from tests.goldens import recipe

pytest.importorskip("safetensors", reason="safetensors is not installed (extra `convert`)")
pytestmark = pytest.mark.usefixtures("networks_of_the_tests")
LICENCE = "NVIDIA Source Code License for SegFormer: non-commercial use, for research or evaluation, alone"
FORMS = find_backbone("mit_b0").published


def state_of(form: int, backbone: str = "mix_tiny") -> dict[str, np.ndarray]:
    """Returns drawn weights by the names of a published form."""
    model = find_backbone(backbone).build(backbone, "frozen", np.random.default_rng(0))
    shapes = {name: value.shape for name, value in to_published(FORMS[form], model).items()}
    return {name: recipe.draw(name, shape, seed=5) for name, shape in shapes.items()}


def assert_holds(backbone, form: int, state: dict[str, np.ndarray]) -> None:
    for name, array in to_published(FORMS[form], backbone).items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


def save(path, state) -> str:
    (torch_files.write if path.suffix == ".pth" else torch_files.write_safetensors)(str(path), state)
    return str(path)


HEAD = {"decode_head.classifier.weight": np.ones((2, 2, 1, 1), np.float32)}


@pytest.mark.parametrize(
    ("form", "file", "prefix", "others"),
    [
        (0, "model.safetensors", "segformer.", {"classifier.weight": np.ones((2, 2), np.float32)}),
        (0, "model.safetensors", "segformer.", HEAD),
        (1, "mit.pth", "", {"head.weight": np.ones((2, 2), np.float32), "head.bias": np.ones(2, np.float32)}),
        (1, "trained.pth", "backbone.", HEAD),
    ],
)
def test_published_files_become_initial_weights(tmp_path, form, file, prefix, others):
    if file.endswith(".pth"):
        pytest.importorskip("torch", reason="PyTorch is not installed (extra `convert`)")
    state = state_of(form)
    path = save(tmp_path / file, {prefix + name: array for name, array in state.items()} | others)
    account, licence = weight_conversion.convert_backbone(path, "mix_tiny", str(tmp_path / "weights.npz"))
    assert account.startswith(f"mix_tiny: {len(state)} of {len(state) + len(others)} tensors loaded; missing: none; ")
    assert all(name in account.partition("unused: ")[2] for name in others)
    assert licence == f"licence of the weights that {FORMS[form].by} published: {LICENCE}"
    segmenter = build_segmenter("mix_tiny", 3, head="segformer", batch_norm="synchronized")
    load_initial_weights(segmenter, str(tmp_path / "weights.npz"))
    assert_holds(segmenter.feature_extractor, form, state)


@pytest.mark.parametrize(("form", "file"), [(0, "model.safetensors"), (1, "mit.pth")])
def test_a_checkpoint_goes_back_to_the_published_forms(tmp_path, form, file):
    if file.endswith(".pth"):
        pytest.importorskip("torch", reason="PyTorch is not installed (extra `convert`)")
    run = trained.write_run(tmp_path, ModelConfig("mix_tiny", head="segformer", batch_norm="synchronized"))
    lines = weight_conversion.export_checkpoint(run, str(tmp_path / file))
    assert lines[-1].endswith(LICENCE)
    written = torch_files.read(str(tmp_path / file))
    assert_holds(checkpoint.load_segmenter(run).feature_extractor, form, written)
    assert written.keys() == state_of(form).keys()


@pytest.mark.slow
@pytest.mark.parametrize("form", [0, 1])
def test_weights_of_another_depth_are_refused_with_the_backbone_that_they_fit(tmp_path, form):
    path = save(tmp_path / "model.safetensors", state_of(form, "mix_deeper"))
    block = ("encoder.block.2.1.", "block3.1.")[form]
    with pytest.raises(InputError, match=rf"it has besides {block}\S+, .* check the backbone; they fit mix_deeper$"):
        weight_conversion.convert_backbone(path, "mix_tiny", str(tmp_path / "weights.npz"))
    assert not (tmp_path / "weights.npz").exists()


def test_missing_tensors_are_named(tmp_path):
    state = state_of(1)
    del state["block2.0.attn.kv.bias"], state["norm3.weight"]
    path = save(tmp_path / "model.safetensors", state)
    with pytest.raises(InputError, match=r"it lacks block2\.0\.attn\.kv\.bias, norm3\.weight: check the backbone$"):
        weight_conversion.convert_backbone(path, "mix_tiny", str(tmp_path / "weights.npz"))
