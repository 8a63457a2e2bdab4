"""The discriminator's view of an image, from a checkpoint."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.data.labels import CITYSCAPES13
from fada_tf.errors import InputError
from fada_tf.evaluation.discrimination import DomainPredictor, has_discriminator
from fada_tf.models.layers import resize_align_corners
from fada_tf.models.segmenter import build_segmenter
from fada_tf.runs.directory import write_run_directory
from fada_tf.training.checkpoints import make_checkpoint
from tests.data import makers


def save_run(directory: str, method_name: str):
    """Writes a run directory with one checkpoint; returns its method."""
    config = Config()
    config.model.backbone, config.model.batch_norm = "tiny", "synchronized"
    config.method = method_settings(method_name)
    segmenter = build_segmenter("tiny", 13, "synchronized", seed=3)
    method = registry.load("fada_tf.methods", method_name).build(config, segmenter)
    write_run_directory(directory, config, CITYSCAPES13)
    manager = tf.train.CheckpointManager(
        make_checkpoint(method, tf.Variable(5), tf.Variable([0.0])), f"{directory}/checkpoints", 1
    )
    manager.save(5)
    return method


@pytest.mark.parametrize("name", ["fada", "binary_adversarial"])
def test_the_view_is_the_probability_of_the_target_domain(tmp_path, name):
    method = save_run(str(tmp_path), name)
    image = makers.texture(40, 56)
    logits = method.discriminator(method.segmenter.features(tf.cast(image, tf.float32)[None]))
    joint = tf.nn.softmax(resize_align_corners(logits, (40, 56)))[0].numpy()
    expected = joint[..., joint.shape[-1] // 2 :].sum(-1)
    assert has_discriminator(str(tmp_path))
    predictor = DomainPredictor(str(tmp_path), 40, 56)
    np.testing.assert_allclose(predictor(image), expected, rtol=1e-4)
    with pytest.raises(InputError, match=r"a picture of float64 from .* give integers in 0\.\.255"):
        predictor(image / 255)


def test_a_run_without_a_discriminator_has_no_view(tmp_path):
    save_run(str(tmp_path), "source_only")
    assert not has_discriminator(str(tmp_path))
    with pytest.raises(InputError, match="has no discriminator: it is a run of source_only"):
        DomainPredictor(str(tmp_path), 40, 56)
