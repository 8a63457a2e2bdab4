"""The segmenter's parameter groups: multipliers of the head and of every block."""

import dataclasses

import keras
import numpy as np
import pytest

from fada_tf.errors import InputError
from fada_tf.models.segmenter import build_segmenter, find_backbone
from fada_tf.optimizers import groups as groups_lib
from fada_tf.optimizers.groups import ParameterGroup, layer_multipliers, segmenter_groups
from fada_tf.optimizers.schedules import build_schedule
from fada_tf.optimizers.torch_optimizers import TorchSGD
from tests.optimizers import shared


def test_a_head_learns_faster_and_blocks_learn_slower_towards_the_image():
    segmenter = build_segmenter("tiny", 3)
    feature_extractor, classifier = segmenter_groups(segmenter, head_multiplier=10.0, layer_decay=0.5)
    assert set(classifier.multipliers()) == {10.0}
    paths = [variable.path for variable in feature_extractor.variables]
    of_block = dict(zip(paths, feature_extractor.multipliers(), strict=True))
    first, last = paths[0], paths[-1]
    assert of_block[last] == 1.0 and of_block[first] == 0.5**6  # a stem and the six blocks after it
    assert sorted(set(of_block.values())) == [0.5**power for power in range(6, -1, -1)]
    decays = [multiplier for _, multiplier in sorted(of_block.items(), key=lambda item: paths.index(item[0]))]
    assert decays == sorted(decays)


def test_without_layer_decay_all_of_the_feature_extractor_learns_alike():
    groups = segmenter_groups(build_segmenter("tiny", 3), head_multiplier=4.0)
    assert [(group.name, set(group.multipliers())) for group in groups] == [
        ("feature_extractor", {1.0}), ("classifier", {4.0}),
    ]  # fmt: skip


def test_layer_decay_of_a_backbone_without_blocks_is_refused(monkeypatch):
    segmenter = build_segmenter("tiny", 3)
    without = dataclasses.replace(find_backbone("tiny"), block_ends="")
    monkeypatch.setattr(groups_lib, "find_backbone", lambda name: without)
    with pytest.raises(InputError, match=r"layer_decay is 0\.9, and backbone 'tiny' names no block_ends"):
        segmenter_groups(segmenter, head_multiplier=1.0, layer_decay=0.9)


def test_layer_decay_is_that_of_the_peers():
    golden = shared.load("ops_layer_decay")
    count = golden["arg_blocks"].item()
    inputs = x = keras.Input((2,))
    for name in ("stem", *(f"block{block}" for block in range(count))):
        x = keras.layers.Dense(2, name=f"{name}_dense")(x)
        x = keras.layers.ReLU(name=f"{name}_end")(x)
    x = keras.layers.LayerNormalization(name="norm")(x)  # of the last block, as in the peers' second version
    model = keras.Model(inputs, x)
    of_decoder = golden["arg_lr"].item() * np.sqrt(golden["arg_batch"].item())
    encoder = golden["arg_encoder_multiplier"].item()
    multiplier_of = layer_multipliers(model, r"\w+_end", golden["arg_layer_decay"].item())
    group = ParameterGroup("encoder", model.trainable_variables, encoder, multiplier_of=multiplier_of)
    ours = {variable.path: value for variable, value in zip(group.variables, group.multipliers(), strict=True)}
    names = dict(zip(golden["group_names"].tolist(), golden["group_multipliers"].tolist(), strict=True))
    for name, wanted in names.items():
        if name != "decoder":
            assert ours[f"{name.replace('blocks.', 'block')}_dense/kernel"] == pytest.approx(wanted, rel=1e-12)
    assert ours["norm/gamma"] == pytest.approx(encoder)

    optimizer = TorchSGD([group], lambda multiplier: build_schedule(of_decoder * multiplier, horizon=9, power=1.0))
    rates = [float(rate) for rate in optimizer.learning_rate]
    np.testing.assert_allclose(rates, np.sort(golden["group_learning_rates"])[:-1], rtol=1e-6)
