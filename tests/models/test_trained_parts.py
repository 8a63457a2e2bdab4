"""What is trained of a network: all of it, its head, or its head and low-rank adapters of its backbone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf.config import Config, ModelConfig, method_settings
from fada_tf.errors import InputError
from fada_tf.methods import source_only
from fada_tf.models import moving_average
from fada_tf.models.lora import is_adapter
from fada_tf.models.segmenter import Segmenter, build_segmenter
from fada_tf.models.weights import load_initial_weights
from fada_tf.optimizers.groups import segmenter_groups
from fada_tf.runs import checkpoint
from fada_tf.training.checkpoints import make_checkpoint
from fada_tf.validation import validate
from tests import trained

pytestmark = pytest.mark.usefixtures("networks_of_the_tests")
# Mix Transformers see more than one key in these.
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 28, 70, 3), dtype=np.uint8)
BATCH = {
    "image": IMAGES,
    "label": np.random.default_rng(1).integers(0, 3, (2, 28, 70)).astype(np.uint8),
    "draw": np.array([3, 4]),
}
LORA = {"trained_part": "lora", "lora_rank": 4}
HEADS = {"vit_tiny": "vfm_uda", "mix_tiny": "segformer"}
# The layers of each that have adapters, and the shapes of those.
ADAPTED = {
    "vit_tiny": (
        [f"block{block}/{layer}" for block in (0, 1) for layer in ("qkv", "projection")],
        {(16, 4), (4, 48), (4, 16)},
    ),
    "mix_tiny": (
        [f"block{stage}_0_{layer}" for stage in (1, 2, 3, 4) for layer in ("query", "key_value", "output")],
        {shape for width in (8, 16, 40, 64) for shape in ((width, 4), (4, width), (4, 2 * width))},
    ),
}


def build(backbone="vit_tiny", seed=1, **options) -> Segmenter:
    return build_segmenter(backbone, 3, head=HEADS[backbone], seed=seed, **options)


def values(*networks: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: np.asarray(variable) for network in networks for variable in network.variables}


def changed(segmenter: Segmenter, before: dict[str, np.ndarray]) -> set[str]:
    after = values(segmenter.feature_extractor, segmenter.classifier)
    return {path for path, value in after.items() if not np.array_equal(value, before[path])}


def steps(method, *batches, count: int = 1) -> None:
    tensors = [{key: tf.constant(value) for key, value in batch.items()} for batch in batches]
    step = tf.function(method.step)
    for _ in range(count):
        assert all(np.isfinite(value) for value in step(*tensors).values())


def adapters(segmenter: Segmenter) -> set[str]:
    return {variable.path for variable in segmenter.feature_extractor.variables if is_adapter(variable)}


@pytest.mark.parametrize("backbone", HEADS)
def test_adapters_change_nothing_at_first(backbone):
    adapted, (layers, sizes) = build(backbone, **LORA), ADAPTED[backbone]
    np.testing.assert_array_equal(adapted(IMAGES), build(backbone)(IMAGES))
    assert adapters(adapted) == {f"{layer}/{name}" for layer in layers for name in ("lora_in", "lora_out")}
    assert {tuple(each.shape) for each in adapted.feature_extractor.trainable_variables} == sizes


def test_the_head_alone_is_trained_on_features_that_stay():
    segmenter = build(trained_part="head", recompute=True)
    (group,) = segmenter_groups(segmenter, head_multiplier=2.0, layer_decay=0.9)
    assert group.name == "classifier" and len(group.variables) == len(segmenter.classifier.variables)
    before = values(segmenter.feature_extractor, segmenter.classifier)
    steps(source_only.build(Config(), segmenter), BATCH)
    assert changed(segmenter, before) == {variable.path for variable in segmenter.classifier.variables}


def test_no_gradient_is_taken_through_a_frozen_backbone():
    method = source_only.build(Config(), build(trained_part="head"))
    batch = {key: tf.constant(value) for key, value in BATCH.items()}
    kinds = [
        operation.type for operation in tf.function(method.step).get_concrete_function(batch).graph.get_operations()
    ]
    whole = source_only.build(Config(), build())
    others = [
        operation.type for operation in tf.function(whole.step).get_concrete_function(batch).graph.get_operations()
    ]
    assert kinds.count("SoftmaxGrad") == 0 and kinds.count("Softmax") == 2  # of two blocks, forwards
    assert len(others) > 1.5 * len(kinds)


def test_the_statistics_of_a_frozen_backbone_stay_too():
    segmenter = build_segmenter("tiny", 3, "synchronized", trained_part="head")
    before = values(segmenter.feature_extractor)
    np.testing.assert_array_equal(segmenter.features(IMAGES, training=True), segmenter.features(IMAGES))
    for path, value in values(segmenter.feature_extractor).items():
        np.testing.assert_array_equal(value, before[path])


@pytest.mark.parametrize(
    ("backbone", "recompute"),
    [
        ("vit_tiny", False),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("vit_tiny", True), ("mix_tiny", False))),
    ],
)
def test_adapters_and_head_are_trained_and_a_teacher_follows(backbone, recompute):
    config = Config()
    config.optimizer.layer_decay = 0.9
    segmenter = build(backbone, **LORA, recompute=recompute)
    teacher, method = moving_average.copy_of(segmenter), source_only.build(config, segmenter)
    assert {name: len(group.variables) for name, group in method.groups.items()} == {
        "feature_extractor": 2 * len(ADAPTED[backbone][0]),
        "classifier": len(segmenter.classifier.trainable_variables),
    }
    before = values(segmenter.feature_extractor, segmenter.classifier)
    heads = {variable.path for variable in segmenter.classifier.trainable_variables}
    steps(method, BATCH, count=2)  # the gradient by `lora_in` is 0 as long as `lora_out` is
    assert changed(segmenter, before) == adapters(segmenter) | heads
    moving_average.update(teacher, segmenter, 0.5)
    averages, student = (values(network.feature_extractor, network.classifier) for network in (teacher, segmenter))
    assert {path for path in student if not np.array_equal(averages[path], student[path])} == adapters(
        segmenter
    ) | heads


def test_what_is_frozen_stays_frozen_when_a_model_is_made_trainable_again():
    segmenter = build(**LORA)
    trained_paths = [variable.path for variable in segmenter.trainable_variables]
    segmenter.trainable = False
    assert not segmenter.trainable_variables
    segmenter.trainable = True
    assert [variable.path for variable in segmenter.trainable_variables] == trained_paths
    copy = moving_average.copy_of(segmenter)
    assert not copy.trainable_variables
    np.testing.assert_array_equal(copy(IMAGES), segmenter(IMAGES))


def randomize_adapters(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(5)
    for variable in segmenter.feature_extractor.variables:
        if is_adapter(variable):
            variable.assign(0.3 * rng.standard_normal(variable.shape))


@pytest.mark.parametrize("backbone", ["vit_tiny", pytest.param("mix_tiny", marks=pytest.mark.slow)])
def test_a_run_with_adapters_is_scored_and_started_from_with_them_merged(tmp_path, backbone):
    model = ModelConfig(backbone, head=HEADS[backbone], trainable="lora", lora_rank=4)
    run = trained.write_run(tmp_path, model, (28, 42), change=randomize_adapters)
    original = build(backbone, seed=3, **LORA)
    randomize_adapters(original)
    for variable in original.classifier.variables:
        variable.assign(variable * 300.0)
    expected = original(IMAGES)
    plain = checkpoint.load_segmenter(run)
    assert (plain.trained_part, adapters(plain)) == ("all", set())
    np.testing.assert_allclose(plain(IMAGES), expected, rtol=1e-4, atol=1e-3)
    again = build(backbone, **LORA)
    checkpoint.restore_segmenter(again, run)
    np.testing.assert_allclose(again(IMAGES), expected, rtol=1e-4, atol=1e-3)
    of_plain_run = trained.write_run(tmp_path / "plain", ModelConfig(backbone, head=HEADS[backbone]), (28, 42))
    checkpoint.restore_segmenter(again, of_plain_run)
    np.testing.assert_allclose(again(IMAGES), checkpoint.load_segmenter(of_plain_run)(IMAGES), rtol=1e-4, atol=1e-3)


def test_weights_of_a_file_go_beside_adapters(tmp_path):
    np.savez(tmp_path / "weights.npz", **values(build(backbone="vit_tiny").feature_extractor))
    adapted = build(seed=9, **LORA)
    load_initial_weights(adapted, str(tmp_path / "weights.npz"))
    np.testing.assert_array_equal(adapted.features(IMAGES), build().features(IMAGES))


def test_a_method_with_adapters_is_saved_and_restored(tmp_path):
    def checkpoint_of(segmenter):
        method = source_only.build(Config(), segmenter)
        return make_checkpoint(method, tf.Variable(0, dtype=tf.int64), tf.Variable(0.0))

    one, other = build(**LORA), build(seed=2, **LORA)
    randomize_adapters(one)
    path = checkpoint_of(one).write(str(tmp_path / "saved"))
    checkpoint_of(other).read(path).assert_consumed()
    np.testing.assert_array_equal(other(IMAGES), one(IMAGES))


def test_a_backbone_without_adapters_is_refused():
    message = r"backbone 'tiny' has no attention .* choose 'all' or 'head', or from dinov2.*, dinov3.*, mit_b0"
    with pytest.raises(InputError, match=message):
        build_segmenter("tiny", 3, **LORA)


@pytest.mark.parametrize(
    ("method", "model", "message"),
    [
        ({"name": "fada"}, {}, "method fada trains features .* 'head' freezes them: choose 'all' or 'lora'"),
        ({"name": "binary_adversarial"}, {}, "method binary_adversarial trains features against a discriminator"),
        ({"name": "mic", "adversarial": True}, {}, "config.method.adversarial trains features"),
        (
            {"name": "dacs", "feature_distance_weight": 0.1, "imagenet_weights": "a.npz"}, {},
            "feature_distance_weight is of features that move, and config.model.trainable 'head'",
        ),
        ({"name": "source_only"}, {"recompute": True}, "config.model.recompute is True, which .*trainable 'head'"),
        ({"name": "source_only"}, {"lora_rank": 8}, "config.model.lora_rank is 8, which .*trainable 'head'"),
    ],
)  # fmt: skip
def test_what_a_frozen_backbone_leaves_without_effect_is_refused(method, model, message):
    config = Config(method=method_settings(**method))
    config.model.trainable = "head"
    for field, value in model.items():
        setattr(config.model, field, value)
    for domain in (config.data.source, config.data.target):
        domain.records, domain.height, domain.width = "records", 28, 42
    with pytest.raises(InputError, match=message):
        validate(config)
