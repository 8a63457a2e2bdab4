"""What every method must do, the library's and the one of the tests that uses all hooks.

One replica does what two do, one part what two do, a saved method goes on as if it had never stopped, and every
precision and XLA make the same steps up to rounding.
"""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import devices, randomness, registry
from fada_tf.config import Config, method_settings
from fada_tf.losses import row_blocks
from fada_tf.methods.base import Loss, Method
from fada_tf.models.segmenter import build_segmenter
from fada_tf.training.checkpoints import make_checkpoint
from tests import scenes
from tests.small_runs import SETTINGS

pytestmark = pytest.mark.usefixtures("methods_of_the_tests")
METHODS = (*registry.names("fada_tf.methods"), "masked_teacher")
CLASSES, IMAGES, SIZE = 3, 4, (24, 32)
HELD = {"mic": {"class_shares": "0.5,0.3,0.2"}}
NETWORKS = (("efficientnet_lite0", "aspp"),)  # backbones and heads, beside the one that all tests here have


def all_but_slow(*quick: str) -> list:
    """Returns all methods, whose tests are slow but for these: tracing each takes ten seconds."""
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in METHODS]


TEACHER = all_but_slow("masked_teacher")
DISCRIMINATOR_AND_TEACHER = all_but_slow("fada", "masked_teacher")  # which have all the parts


def build(name: str, backbone: str = "tiny", head: str = "aspp", **fields) -> Method:
    config = Config()
    config.method = method_settings(name, **SETTINGS.get(name, {}), **HELD.get(name, {}))
    config.optimizer.learning_rate = 1e-4
    for field, value in fields.items():
        setattr(config.training, field, value)
    # Frozen statistics do not depend on the batch.
    method = registry.load("fada_tf.methods", name).build(config, build_segmenter(backbone, CLASSES, head=head))
    if config.training.xla:
        method.use_xla()
    return method


def batch(dusk: bool, first_draw: int, step: int = 2) -> dict[str, tf.Tensor]:
    """Returns scenes of equally many labelled pixels each, so that means over pixels are means of the parts' means.

    Args:
      dusk: whether it is dusk.
      first_draw: number of the first image.
      step: every how many-th pixel of a row, and row, is taken.
    """
    pairs = [scenes.scene(draw, dusk) for draw in range(first_draw, first_draw + IMAGES)]
    images, labels = (np.stack(values)[:, ::step, ::step] for values in zip(*pairs, strict=True))
    return {"image": images, "label": labels, "draw": np.arange(first_draw, first_draw + IMAGES)}


def steps_of(method: Method, strategy: tf.distribute.Strategy, first: int = 0, count: int = 2) -> dict[str, float]:
    """Makes steps on the images that those numbers would draw; returns the last one's losses, means over all images."""
    replicas = strategy.num_replicas_in_sync

    def of_replica(context, values):
        place = context.replica_id_in_sync_group * IMAGES // replicas
        return tf.constant(values[place : place + IMAGES // replicas])

    @tf.function
    def step(batches):
        measures = strategy.run(method.step, args=batches)
        return {name: strategy.reduce("MEAN", measures[name], axis=None) for name in measures}

    for iteration in range(first, first + count):
        batches = [
            {
                key: strategy.experimental_distribute_values_from_function(
                    lambda context, v=values: of_replica(context, v)
                )
                for key, values in batch(domain == "target", IMAGES * iteration).items()
            }
            for domain in method.domains
        ]
        measures = step(batches)
    return {name: float(measures[name]) for name in measures}


def weights(method: Method) -> dict[str, np.ndarray]:
    return {
        f"{name} {variable.path}": np.asarray(variable)
        for name, network in method.networks.items()
        for variable in network.variables
    }


def losses(measures: dict[str, float]) -> dict[str, float]:
    """Returns the losses alone: norms of a replica's gradients are of that replica."""
    return {name: value for name, value in measures.items() if not name.startswith(("gradient_norm/", "loss_scale"))}


def assert_same_steps(start, one, other, share: float) -> None:
    """Fails where the networks' moves differ by more than a share of them."""
    for network in {name.partition(" ")[0] for name in start}:
        names = [name for name in start if name.startswith(f"{network} ")]
        moves = [np.concatenate([(end[name] - start[name]).ravel() for name in names]) for end in (one, other)]
        assert np.linalg.norm(moves[0]) > 0, network
        assert np.linalg.norm(moves[0] - moves[1]) <= share * np.linalg.norm(moves[0]), network


@pytest.fixture(scope="module")
def plain():
    """Returns a function from a method's name to its weights before and after two plain steps, and their losses."""
    known = {}

    def of(name):
        if name not in known:
            method = build(name)
            start = weights(method)
            measures = steps_of(method, tf.distribute.get_strategy())
            known[name] = start, weights(method), measures
        return known[name]

    return of


@pytest.mark.parametrize("name", TEACHER)
def test_a_step_measures_what_it_names_and_moves_every_weight(plain, name):
    method = build(name)
    start, after, measures = plain(name)
    assert set(measures) == set(method.measure_names)
    assert set(method.reported) <= set(method.measured)
    assert set(method.labelled_domains) <= set(method.domains) <= {"source", "target"}
    assert set(method_settings(name).scored.values()) <= set(method.networks)
    assert all(np.isfinite(value) for value in measures.values())
    for network, optimizer in method.optimizers.items():
        for variable in (variable for group in optimizer.groups for variable in group.variables):
            assert not np.array_equal(*(values[f"{network} {variable.path}"] for values in (start, after)))


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "head"), NETWORKS)
@pytest.mark.parametrize("name", METHODS)
def test_every_network_is_moved_by_every_method(name, backbone, head):
    method = build(name, backbone, head)
    start = weights(method)
    measures = steps_of(method, tf.distribute.get_strategy())
    after = weights(method)
    assert all(np.isfinite(value) for value in measures.values())
    assert all(np.isfinite(value).all() for value in after.values())
    for network, optimizer in method.optimizers.items():
        for variable in (variable for group in optimizer.groups for variable in group.variables):
            path = f"{network} {variable.path}"
            assert not np.array_equal(start[path], after[path]), path


@pytest.mark.parametrize("name", DISCRIMINATOR_AND_TEACHER)
def test_what_it_shows_has_a_label_and_a_weight_for_every_pixel(name):
    method = build(name)
    shown = method.pictures(*(batch(domain == "target", 0) for domain in method.domains))
    assert bool(shown) == ("teacher" in method.networks)
    for of_batch in shown.values():
        assert of_batch["image"].shape == (IMAGES, *SIZE, 3) and of_batch["label"].shape == (IMAGES, *SIZE)
        assert of_batch["weight"].shape == (IMAGES, *SIZE)
        assert np.min(of_batch["weight"]) >= 0 and np.max(of_batch["weight"]) <= 1 and np.max(of_batch["image"]) <= 255
        assert set(np.unique(of_batch["label"])) <= {*range(CLASSES), 255}


@pytest.mark.parametrize("name", TEACHER)
def test_two_parts_are_one(plain, name):
    start, after, measures = plain(name)
    method = build(name, accumulation_steps=2)
    assert losses(steps_of(method, tf.distribute.get_strategy())) == pytest.approx(losses(measures), rel=1e-4)
    assert_same_steps(start, after, weights(method), 1e-2)


@pytest.mark.parametrize("name", DISCRIMINATOR_AND_TEACHER)
def test_two_replicas_are_one(plain, two_replicas, name):
    start, after, measures = plain(name)
    with two_replicas.scope():
        method = build(name)
    assert losses(steps_of(method, two_replicas)) == pytest.approx(losses(measures), rel=1e-4)
    assert_same_steps(start, after, weights(method), 1e-2)


@pytest.mark.parametrize("name", DISCRIMINATOR_AND_TEACHER)
def test_a_saved_method_goes_on_as_if_it_had_never_stopped(plain, name, tmp_path):
    _, after, _ = plain(name)
    strategy = tf.distribute.get_strategy()

    def checkpoint(method):
        return make_checkpoint(method, tf.Variable(0, dtype=tf.int64), tf.Variable(0.0))

    stopped, resumed = build(name), build(name)
    steps_of(stopped, strategy, count=1)
    path = checkpoint(stopped).write(str(tmp_path / "saved"))
    for network in resumed.networks.values():
        for variable in network.variables:
            variable.assign(tf.zeros_like(variable))  # nothing is left of how it was built
    checkpoint(resumed).read(path).assert_consumed()
    steps_of(resumed, strategy, first=1, count=1)
    for key, value in weights(resumed).items():
        np.testing.assert_array_equal(value, after[key], err_msg=key)


PRECISIONS = {"mixed_float16": (2e-2, 0.1), "mixed_bfloat16": (5e-2, 0.3)}  # how near losses and steps are


@pytest.mark.slow
@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", METHODS)
def test_other_precisions_make_the_same_steps(plain, name, precision):
    start, after, measures = plain(name)
    devices.set_precision(precision)
    try:
        method = build(name)
        found = steps_of(method, tf.distribute.get_strategy())
    finally:
        devices.set_precision("float32")
    assert ("loss_scale" in found) == (precision == "mixed_float16")
    of_losses, of_steps = PRECISIONS[precision]
    for key, value in losses(measures).items():
        # Shares of pixels move by whole pixels.
        tolerance = {"abs": 0.05} if key in method.reported else {"rel": of_losses}
        assert found[key] == pytest.approx(value, **tolerance), key
    assert_same_steps(start, after, weights(method), of_steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_xla_changes_nothing_but_rounding(plain, name, monkeypatch):
    start, after, measures = plain(name)
    monkeypatch.setattr(row_blocks, "_BLOCK_VALUES", 1000)  # as many blocks as a large picture has
    method = build(name, xla=True)
    assert steps_of(method, tf.distribute.get_strategy()) == pytest.approx(measures, rel=1e-3)
    assert_same_steps(start, after, weights(method), 1e-2)


def test_a_skipped_update_moves_no_teacher():
    devices.set_precision("mixed_float16")
    try:
        method = build("masked_teacher")
    finally:
        devices.set_precision("float32")
    method.loss_scale.scale.assign(2.0**40)  # overflows
    start = weights(method)
    steps_of(method, tf.distribute.get_strategy(), count=1)
    assert float(method.loss_scale.scale) == 2.0**39
    for key, value in weights(method).items():
        np.testing.assert_array_equal(value, start[key], err_msg=key)


def test_a_teacher_is_the_average_of_what_the_student_was(plain):
    start, after, _ = plain("masked_teacher")
    method = build("masked_teacher")
    steps_of(method, tf.distribute.get_strategy(), count=1)
    student, teacher = (
        {key.partition(" ")[2]: value for key, value in weights(method).items() if key.startswith(f"{name} ")}
        for name in ("segmenter", "teacher")
    )
    for (path, first), average in zip(student.items(), teacher.values(), strict=True):
        begin = start[f"segmenter {path}"]
        np.testing.assert_allclose(average, begin + 0.5 * (first - begin), rtol=1e-5, atol=1e-8)
    assert any((after[f"teacher {path}"] != start[f"segmenter {path}"]).any() for path in student)


def test_a_weight_that_learns_nothing_is_named(monkeypatch):
    method = build("fada")
    passes = method.passes

    def without_learners(source, target):
        for yielded in passes(source, target):
            yield {name: loss.value if isinstance(loss, Loss) else loss for name, loss in yielded.items()}

    monkeypatch.setattr(method, "passes", without_learners)
    with pytest.raises(ValueError, match=r"\w+/kernel of the segmenter learns from no loss"):
        steps_of(method, tf.distribute.get_strategy(), count=1)


def test_a_loss_without_a_name_is_refused(monkeypatch):
    method = build("source_only")
    passes = method.passes
    monkeypatch.setattr(method, "passes", lambda source: ({"other": one["segmentation"]} for one in passes(source)))
    with pytest.raises(ValueError, match=r"the passes yield \['other'\], and `measured` has \['segmentation'\]"):
        steps_of(method, tf.distribute.get_strategy(), count=1)


def test_random_numbers_depend_on_seed_purpose_and_draw_alone():
    draws = tf.constant([3, 4, 5, 3], tf.int64)
    values = randomness.uniform(1, "mask", draws, (5, 7)).numpy()
    assert values.shape == (4, 5, 7)
    np.testing.assert_array_equal(values[0], values[3])
    np.testing.assert_array_equal(values[1:2], randomness.uniform(1, "mask", draws[1:2], (5, 7)))
    others = [randomness.uniform(*key, draws, (5, 7)).numpy() for key in ((2, "mask"), (1, "blur"))]
    assert all(np.abs(np.corrcoef(values[:3].ravel(), one[:3].ravel())[0, 1]) < 0.3 for one in others)
    compiled = tf.function(lambda: randomness.uniform(1, "mask", draws, (5, 7)), jit_compile=True)()
    np.testing.assert_array_equal(compiled, values)


@pytest.mark.parametrize("first", [0, 2**31 - 1000, 2**33])
def test_random_numbers_are_uniform_and_neighbours_unlike(first):
    values = randomness.uniform(0, "mask", tf.range(first, first + 2000, dtype=tf.int64), (50,)).numpy()
    assert values.min() >= 0
    assert values.max() < 1
    counts, _ = np.histogram(values, bins=256, range=(0, 1))
    expected = values.size / 256
    # Chi squared with 255 degrees of freedom: its mean, and six of its standard deviations.
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 6 * np.sqrt(2 * 255)
    for one, other in ((values[1:], values[:-1]), (values[:, 1:], values[:, :-1])):  # of the next draw, the next place
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 6 / np.sqrt(one.size)
