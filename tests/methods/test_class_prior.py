"""The shares of classes among pseudo labels: held where a config says so, alike on any number of replicas."""

import json

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.errors import InputError
from fada_tf.methods import base_teacher
from fada_tf.methods.base_teacher import TeacherMethod, build_class_prior
from fada_tf.models.class_prior import ClassPrior
from fada_tf.models.segmenter import build_segmenter
from fada_tf.training import made_up
from fada_tf.training.checkpoints import make_checkpoint
from tests import scenes
from tests.data import makers

SHARES = "0.5,0.3,0.2"


def shares_of(logits) -> tf.Tensor:
    likeliest = np.argmax(logits, axis=-1)
    return tf.constant([np.mean(likeliest == k) for k in range(logits.shape[-1])], tf.float32)


def config_of(shares: str = SHARES, name: str = "dacs", **settings) -> Config:
    config = Config()
    config.method = method_settings(name, class_shares=shares, **settings)
    for domain in (config.data.source, config.data.target):
        domain.records, domain.height, domain.width = "nowhere", 24, 32
    return config


def build(config: Config) -> TeacherMethod:
    module = registry.load("fada_tf.methods", config.method.name)
    return module.build(config, build_segmenter("tiny", 3, "frozen", seed=2))


def test_shares_come_to_be_those_that_are_expected():
    rng, expected = np.random.default_rng(0), np.array([0.6, 0.3, 0.08, 0.02])
    logits = rng.normal([2.0, 1.0, -1.0, -2.0], size=(4000, 4))
    before, prior = shares_of(logits), ClassPrior(expected, 0.02)
    assert before[3] < 0.004
    for _ in range(400):
        prior.move(shares_of(prior(logits)))
    np.testing.assert_allclose(shares_of(prior(logits)), expected, rtol=0.1)


def test_what_is_nowhere_is_not_made_up():
    prior = ClassPrior(np.array([1.0, 0.0]), 1.0)
    for _ in range(10):
        prior.move(tf.constant([0.0, 1.0]))
    np.testing.assert_array_equal(prior.bias, [2.0, -2.0])


def test_the_teacher_alone_is_corrected_and_the_correction_is_saved(tmp_path):
    method = build(config_of(confidence_threshold=0.0))
    batch = {"image": tf.constant(scenes.scene(0, False)[0][None, ::2, ::2])}
    logits = method.segmenter(batch["image"])
    method.prior.bias.assign([100.0, 0.0, 0.0])
    assert (method.pseudo_labels(batch)["label"].numpy() == 0).all()
    np.testing.assert_array_equal(method.segmenter(batch["image"]), logits)

    path = make_checkpoint(method, tf.Variable(0), tf.Variable(0.0)).write(str(tmp_path / "ckpt"))
    other = build(config_of())
    make_checkpoint(other, tf.Variable(0), tf.Variable(0.0)).read(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(other.prior.bias, [100.0, 0.0, 0.0])


def test_an_update_moves_it_by_what_was_measured():
    method = build(config_of())
    method.after_update(
        tf.constant(1, tf.int64),
        {f"pseudo_label_share/{k}": tf.constant(share) for k, share in enumerate((1.0, 0.0, 0.0))},
    )
    np.testing.assert_allclose(method.prior.bias, [-0.02, 0.02, 0.02], rtol=1e-6)


def test_replicas_move_it_by_the_mean_of_their_shares(two_replicas):
    with two_replicas.scope():
        prior = ClassPrior(np.array([0.5, 0.5]), 0.1)
    shares = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant([[1.0, 0.0], [0.5, 0.5]][context.replica_id_in_sync_group])
    )
    two_replicas.run(prior.move, args=(shares,))
    for value in two_replicas.experimental_local_results(prior.bias.value):
        np.testing.assert_allclose(value, [-0.05, 0.05], rtol=1e-6)


def test_what_is_predicted_at_first_is_held_and_rare_classes_are_held_to_more():
    prior = ClassPrior(np.array([0.0, 0.02, 0.02]), 0.1, first=2)
    for predicted in ([0.7, 0.3, 0.0], [0.5, 0.48, 0.02]):
        np.testing.assert_array_equal(prior.bias, np.zeros(3))
        prior.move(tf.constant(predicted))
    expected = np.array([0.6, 0.39, 0.02]) / 1.01
    np.testing.assert_allclose(prior.expected(), expected, rtol=1e-6)
    predicted = np.array([0.7, 0.3, 0.0])
    prior.move(tf.constant(predicted, tf.float32))
    np.testing.assert_allclose(prior.expected(), expected, rtol=1e-6)
    np.testing.assert_allclose(prior.bias, 0.1 * (1 - predicted / expected), rtol=1e-5)


def test_what_was_predicted_at_first_is_saved(tmp_path):
    def prior():
        return ClassPrior(np.array([0.0, 0.1]), 0.1, first=3)

    whole, first, second = prior(), prior(), prior()
    for number, predicted in enumerate(np.float32([[0.7, 0.3], [0.5, 0.5], [0.9, 0.1], [1.0, 0.0], [0.2, 0.8]])):
        whole.move(tf.constant(predicted))
        (first if number < 2 else second).move(tf.constant(predicted))
        if number == 1:
            path = tf.train.Checkpoint(prior=first).write(str(tmp_path / "ckpt"))
            tf.train.Checkpoint(prior=second).read(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(second.bias, whole.bias)
    assert np.any(whole.bias != 0)


def class_file(folder, *names: str) -> str:
    """Writes a class file of these names, in this order."""
    classes = [{"name": name, "color": [i, i, i], "ids": [i]} for i, name in enumerate(names)]
    (folder / "classes.json").write_text(json.dumps({"name": "some", "classes": classes, "ignore_ids": [255]}))
    return str(folder / "classes.json")


def test_shares_of_the_source_are_those_of_the_classes_that_are_trained(tmp_path):
    pixels = dict(zip(makers.THREE_CLASSES.names, makers.records(tmp_path).pixels.sum(axis=0), strict=False))
    config = config_of("start")
    config.data.source.records = str(tmp_path / "records")
    config.data.label_space = class_file(tmp_path, "sky", "road")
    both = pixels["sky"] + pixels["road"]
    assert pixels["sky"] != pixels["road"]
    np.testing.assert_allclose(base_teacher._source_shares(config), [pixels["sky"] / both, pixels["road"] / both])
    config.data.label_space = class_file(tmp_path, "sky", "fence", "road")
    with pytest.raises(InputError, match=r"has classes that \S+records lacks: fence: choose"):
        build_class_prior(config, 3)


def test_shares_are_those_of_the_start_or_numbers(tmp_path):
    config = config_of("start")
    config.data.source.records = str(tmp_path / "records")
    config.data.label_space = class_file(tmp_path, "road", "car", "sky")
    shares = makers.records(tmp_path).pixel_shares
    prior = build_class_prior(config, len(shares))
    assert shares.max() > 0.02 and prior.first == 20
    np.testing.assert_allclose(prior.shares, np.minimum(shares, 0.02), rtol=1e-6)
    config.data.source.records = ""  # as without a source
    np.testing.assert_array_equal(build_class_prior(config, 3).shares, np.zeros(3))
    prior = build_class_prior(config_of(name="source_free"), 3)
    np.testing.assert_allclose(prior.expected(), [0.5, 0.3, 0.2], rtol=1e-6)
    assert prior.first == 0
    assert build_class_prior(config_of(""), 3) is None
    assert made_up.build_method(config_of("start"), 3).prior  # as benchmarks do, without records


@pytest.mark.parametrize("shares", ["0.5,0.5", "0.5,0.3,0.3", "0.5,0.7,-0.2", "sources", "0.5,0.3,nan"])
def test_other_shares_are_refused(shares):
    with pytest.raises(InputError, match="give 'start', or 3 numbers of at least 0, one a class, that add up to 1"):
        build_class_prior(config_of(shares), 3)


def test_it_is_made_again_from_its_config():
    prior = ClassPrior(np.array([0.7, 0.2, 0.1]), 0.05, 7)
    again = ClassPrior.from_config(prior.get_config())
    np.testing.assert_array_equal(again.shares, prior.shares)
    assert (again.rate, again.first) == (0.05, 7)
