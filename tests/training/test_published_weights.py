"""Backbones in files of Hugging Face's and their authors' become initial weights, and go back.

vit_tiny is a DINOv2, rotary_tiny a DINOv3.
"""

import re

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
BACKBONE = "vit_tiny_registers"
HUGGING_FACE, AUTHORS = 0, 1  # their places in `Backbone.published`


def state_of(form: int, backbone: str = BACKBONE) -> dict[str, np.ndarray]:
    """Returns drawn weights, and what such files hold beside them."""
    definition = find_backbone(backbone)
    published = definition.published[form]
    model = definition.build(backbone, "frozen", np.random.default_rng(0))
    shapes = {name: value.shape for name, value in to_published(published, model).items()}
    shapes |= dict.fromkeys(published.extra, (1, 16))
    return {name: recipe.draw(name, shape, seed=5) for name, shape in shapes.items()}


def assert_holds(backbone, form: int, state: dict[str, np.ndarray]) -> None:
    for name, array in to_published(find_backbone(backbone.name).published[form], backbone).items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


@pytest.mark.parametrize(("form", "prefix"), [(HUGGING_FACE, ""), (HUGGING_FACE, "dinov2."), (AUTHORS, "")])
def test_published_files_become_initial_weights_and_go_back(tmp_path, form, prefix):
    state = state_of(form)
    head = {"classifier.weight": np.ones((2, 2), np.float32)} if prefix else {}
    torch_files.write_safetensors(
        str(tmp_path / "model.safetensors"), {prefix + name: array for name, array in state.items()} | head
    )
    segmenter = build_segmenter(BACKBONE, 3, head="vfm_uda")
    assert "published: Apache-2.0" in load_initial_weights(segmenter, str(tmp_path / "model.safetensors"))
    assert_holds(segmenter.feature_extractor, form, state)
    output = str(tmp_path / "made" / "weights.npz")
    account, licence = weight_conversion.convert_backbone(str(tmp_path / "model.safetensors"), BACKBONE, output)
    total, unused = len(state), (*head, "mask_token" if form else "embeddings.mask_token")
    assert account.startswith(f"{BACKBONE}: {total - 1} of {total + len(head)} tensors loaded; missing: none; unused: ")
    assert all(name in account for name in unused)
    assert licence.endswith("published: Apache-2.0")
    segmenter = build_segmenter(BACKBONE, 3, head="vfm_uda")
    load_initial_weights(segmenter, output)
    assert_holds(segmenter.feature_extractor, form, state)


def test_dinov3s_licence_is_read_where_its_weights_are_loaded(tmp_path):
    state = state_of(HUGGING_FACE, "rotary_tiny")
    assert "layer.1.attention.q_proj.bias" in state and "layer.1.attention.k_proj.bias" not in state
    np.savez(tmp_path / "weights.npz", **state)
    segmenter = build_segmenter("rotary_tiny", 3, head="vfm_uda")
    assert "licence of the weights that Hugging Face published: DINOv3 License" in load_initial_weights(
        segmenter, str(tmp_path / "weights.npz")
    )
    assert_holds(segmenter.feature_extractor, HUGGING_FACE, state)


@pytest.mark.parametrize(
    ("backbone", "size", "licence"),
    [(BACKBONE, (28, 42), "Apache-2.0"), ("rotary_tiny", (32, 48), "DINOv3 License, Meta's own, .*")],
)
def test_a_checkpoint_becomes_a_file_of_hugging_face(tmp_path, backbone, size, licence):
    run = trained.write_run(tmp_path, ModelConfig(backbone, head="vfm_uda"), size)
    lines = weight_conversion.export_checkpoint(run, str(tmp_path / "model.safetensors"))
    assert lines[1] == "not written: the classifier; embeddings.mask_token, which nothing needs"
    assert re.fullmatch(f"licence of the weights that Hugging Face published: {licence}", lines[2])
    written = torch_files.read(str(tmp_path / "model.safetensors"))
    assert lines[0] == f"{backbone}: {len(written)} tensors written, as Hugging Face name them"
    assert_holds(checkpoint.load_segmenter(run).feature_extractor, HUGGING_FACE, written)
    weight_conversion.convert_backbone(str(tmp_path / "model.safetensors"), backbone, str(tmp_path / "weights.npz"))


def other_grid(state):
    return state | {"embeddings.position_embeddings": np.zeros((1, 257, 16), np.float32)}


def shallower(state):
    return {name: array for name, array in state.items() if not name.startswith("encoder.layer.1.")}


def deeper(state):
    return state | {name.replace("layer.1.", "layer.2."): array for name, array in state.items() if "layer.1." in name}


def without_registers(state):
    return {name: array for name, array in state.items() if "register" not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_grid, r"embeddings.position_embeddings has shape \(1, 257, 16\), and \(1, 1370, 16\) is wanted"),
        (shallower, r"it lacks encoder\.layer\.1\.attention\.\S+, .* \.\.\.: check the backbone"),
        (deeper, r"it has besides encoder\.layer\.2\.attention\.\S+, .* \.\.\.: check the backbone"),
        (without_registers, "it lacks embeddings.register_tokens: check the backbone"),
    ],
)
def test_files_of_another_network_are_refused(tmp_path, change, message):
    path = str(tmp_path / "model.safetensors")
    torch_files.write_safetensors(path, change(state_of(HUGGING_FACE)))
    with pytest.raises(InputError, match=message):
        weight_conversion.convert_backbone(path, BACKBONE, str(tmp_path / "weights.npz"))
    assert not (tmp_path / "weights.npz").exists()
