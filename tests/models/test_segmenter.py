import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf import forms
from fada_tf.errors import InputError
from fada_tf.models.backbones import resnet
from fada_tf.models.discriminator import build_discriminator
from fada_tf.models.layers import FrozenBatchNorm
from fada_tf.models.recomputation import recomputed
from fada_tf.models.segmenter import build_segmenter

BACKBONES = ("resnet50", "tiny", "vgg16")  # resnet101 differs in depth alone: see test_parity.py
CLASSES = 5


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=BACKBONES)
def segmenter(request):
    return build_segmenter(request.param, CLASSES)


@pytest.fixture
def mixed_precision(bfloat16):
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_unknown_backbone_lists_those_there_are():
    with pytest.raises(InputError, match=r"'vgg' is unknown: choose from .*resnet101, resnet50, tiny, vgg16"):
        build_segmenter("vgg", CLASSES)
    with pytest.raises(InputError, match="batch_norm is 'synchronized', and VGG-16 has no batch norm"):
        build_segmenter("vgg16", CLASSES, "synchronized")


@pytest.mark.parametrize("size", [(64, 96), (33, 57), (8, 15), (1, 1), (9, 2049)])
def test_output_stride_is_8_at_any_size(segmenter, size):
    if segmenter.backbone == "vgg16":  # its poolings round down
        if size == (1, 1):
            with pytest.raises(tf.errors.InvalidArgumentError, match="vgg16 needs 8 pixels a side"):
                segmenter.features(images(2, *size))
            return
        expected = (size[0] // 8, size[1] // 8)
    else:
        expected = (-(-size[0] // 8), -(-size[1] // 8))
    features = segmenter.features(images(2, *size))
    logits = segmenter.classify(features)
    assert features.shape == (2, *expected, segmenter.feature_channels)
    assert logits.shape == (2, *expected, CLASSES)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()


def test_call_is_the_classifier_of_the_features(segmenter):
    batch = images(1, 16, 24)
    expected = segmenter.classify(segmenter.features(batch))
    np.testing.assert_array_equal(segmenter(batch), expected)
    np.testing.assert_array_equal(segmenter(batch.astype(np.float32)), expected)


def test_sizes_may_be_unknown_when_traced(segmenter):
    function = tf.function(segmenter, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    for batch in (images(1, 16, 24), images(2, 9, 8)):
        np.testing.assert_allclose(function(batch), segmenter(batch), rtol=1e-4, atol=1e-4)


def test_features_are_normalised_images_features(segmenter):
    batch = images(1, 16, 16)
    expected = segmenter.feature_extractor(segmenter.normalize(batch))
    np.testing.assert_array_equal(segmenter.features(batch), expected)


def test_normalisation_facts():
    pixel = np.array([[[[10, 100, 200]]]], np.uint8)
    rgb = (np.array([10, 100, 200]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    bgr = np.array([200 - 103.939, 100 - 116.779, 10 - 123.68])
    for backbone, expected in (("tiny", rgb), ("vgg16", bgr)):
        np.testing.assert_allclose(build_segmenter(backbone, 2).normalize(pixel)[0, 0, 0], expected, rtol=1e-5)


def test_frozen_batch_norm_trains_convolutions_only():
    segmenter = build_segmenter("resnet50", CLASSES, "frozen")
    assert {variable.name for variable in segmenter.trainable_variables} == {"kernel", "bias"}
    batch = images(1, 16, 16)
    np.testing.assert_array_equal(segmenter(batch, training=True), segmenter(batch))


def test_training_uses_and_updates_the_statistics_of_the_batch():
    segmenter = build_segmenter("tiny", CLASSES, "synchronized")
    batch = images(2, 16, 16)
    before = segmenter(batch)
    assert not np.allclose(segmenter(batch, training=True), before)
    assert not np.allclose(segmenter(batch), before)


def test_equal_seeds_give_equal_weights_and_no_two_layers_share_them():
    one, same, other = (build_segmenter("tiny", CLASSES, seed=seed) for seed in (3, 3, 4))
    discriminators = [build_discriminator(one, CLASSES, seed=seed) for seed in (3, 3, 4)]
    for model, equal, different in ((one, same, other), discriminators):
        for variables in zip(model.variables, equal.variables, different.variables, strict=True):
            first, second, third = (np.asarray(variable) for variable in variables)
            np.testing.assert_array_equal(first, second)
            assert first.std() == 0 or not np.array_equal(first, third)
    firsts = [np.asarray(variable).flat[0] for variable in one.variables if np.asarray(variable).std() > 0]
    assert len(set(firsts)) == len(firsts)


def test_initial_weights_have_the_scale_of_the_reference():
    segmenter = build_segmenter("vgg16", 19)
    kernel = np.asarray(segmenter.feature_extractor.get_layer("block5_conv1").kernel)
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 512)), rtol=0.01)
    fc6 = segmenter.feature_extractor.get_layer("fc6")
    for values in (np.asarray(fc6.kernel), np.asarray(fc6.bias)):
        np.testing.assert_allclose(np.abs(values).max(), 1 / np.sqrt(9 * 512), rtol=0.01)
    aspp = segmenter.classifier.get_layer("aspp_24")
    np.testing.assert_allclose(np.std(aspp.kernel), 0.01, rtol=0.01)
    discriminator = build_discriminator(segmenter, 19)
    bound = np.abs(np.asarray(discriminator.get_layer("conv2").kernel)).max()
    np.testing.assert_allclose(bound, 1 / np.sqrt(9 * 256), rtol=0.01)


def test_classifier_sums_its_four_branches():
    classifier = build_segmenter("tiny", CLASSES).classifier
    features = tf.random.stateless_normal([1, 30, 27, 64], seed=(0, 0))
    expected = 0
    for dilation in (6, 12, 18, 24):
        layer = classifier.get_layer(f"aspp_{dilation}")
        expected += tf.nn.conv2d(features, layer.kernel, 1, "SAME", dilations=dilation) + layer.bias
    for name in ("cpu", "plain"):
        with forms.chosen(name):
            np.testing.assert_allclose(classifier(features), expected, atol=1e-5)
    assert len([layer for layer in classifier.layers if layer.variables]) == 4


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16", "tiny"])
def test_plain_forms_are_one_convolution_a_layer(backbone):
    segmenter = build_segmenter(backbone, CLASSES)
    with forms.chosen("plain"):
        graph = tf.function(segmenter).get_concrete_function(tf.TensorSpec([None, None, None, 3], tf.uint8)).graph
    kinds = collections.Counter(operation.type for operation in graph.get_operations())
    layers = [*segmenter.feature_extractor.layers, *segmenter.classifier.layers]
    assert kinds["Conv2D"] == sum(isinstance(layer, keras.layers.Conv2D) for layer in layers)
    others = "SpaceToBatchND", "BatchToSpaceND", "GatherV2", "MatMul", "IdentityN"  # the last is a custom gradient
    assert not {*others} & kinds.keys()


@pytest.mark.parametrize("num_classes", [CLASSES, 1])
def test_discriminator_has_the_source_classes_then_the_target_classes(num_classes):
    segmenter = build_segmenter("tiny", CLASSES)
    discriminator = build_discriminator(segmenter, num_classes)
    features = segmenter.features(images(1, 16, 24))
    before = np.asarray(discriminator(features))
    assert before.shape == (1, 2, 3, 2 * num_classes)
    discriminator.get_layer("target_head").bias.assign(np.full(num_classes, 7.0))
    changed = np.asarray(discriminator(features)) - before
    np.testing.assert_array_equal(changed[..., :num_classes], 0)
    assert (changed[..., num_classes:] > 1).all()


@pytest.mark.parametrize(("height", "width"), [(7, 10), (1, 2)])
def test_max_pool_of_resnet_is_padded_symmetrically_with_minus_infinity(height, width):
    layers = build_segmenter("resnet50", 2).feature_extractor
    pool = keras.Model(layers.get_layer("relu").input, layers.get_layer("maxpool").output)
    x = np.random.default_rng(0).standard_normal((2, height, width, 64)).astype(np.float32)
    padded = np.pad(np.maximum(x, 0), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    rows, columns = range(0, height, 2), range(0, width, 2)
    expected = [[padded[:, row : row + 3, column : column + 3].max((1, 2)) for column in columns] for row in rows]
    np.testing.assert_array_equal(pool(x), np.moveaxis(expected, 2, 0))


def test_dilated_resnet_is_the_strided_one_seen_four_times_as_densely(monkeypatch):
    dense = build_segmenter("resnet50", 2).feature_extractor
    monkeypatch.setattr(resnet, "_STAGES", ((64, 1, 1, 1), (128, 2, 1, 1), (256, 2, 1, 1), (512, 2, 1, 1)))
    strided = resnet.VARIANTS["resnet50"].build("resnet50", "frozen", np.random.default_rng(1), [32])
    strided.set_weights(dense.get_weights())
    batch = np.random.default_rng(0).standard_normal((1, 75, 65, 3)).astype(np.float32)
    features, expected = np.asarray(dense(batch)), np.asarray(strided(batch))
    assert expected.shape == (1, 3, 3, 2048)
    np.testing.assert_allclose(features[:, ::4, ::4], expected, atol=1e-5 * np.abs(expected).max())


def gradients(segmenter, discriminator, batch):
    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            features = segmenter.features(batch, training=True)
            loss = tf.reduce_mean(tf.square(segmenter.classify(features)))
            loss += tf.reduce_mean(tf.square(discriminator(features, training=True)))
        return tape.gradient(loss, segmenter.trainable_variables + discriminator.trainable_variables)

    return compute()


def dilated_gradients_are_computed() -> bool:
    """Tells whether TensorFlow has gradients of dilated convolutions here: on CPUs they are oneDNN's."""
    image, kernel = tf.ones([1, 3, 3, 1]), tf.ones([3, 3, 1, 1])
    try:
        tf.raw_ops.Conv2DBackpropInput(
            input_sizes=image.shape, filter=kernel, out_backprop=image, strides=[1] * 4, padding="SAME",
            dilations=[1, 2, 2, 1],
        )  # fmt: skip
    except tf.errors.OpError:
        return False
    return True


@pytest.mark.parametrize("backbone", [*BACKBONES, pytest.param("resnet101", marks=pytest.mark.slow)])
def test_the_form_for_gpus_computes_what_the_form_for_cpus_does(backbone):
    segmenter = build_segmenter(backbone, CLASSES)
    discriminator, batch = build_discriminator(segmenter, CLASSES), images(2, 40, 56)
    logits, slopes = {}, {}
    for name in ("cpu", "plain"):
        with forms.chosen(name):
            logits[name] = tf.function(segmenter)(batch)
    # Sums of up to 18432 products round otherwise, layer after layer; where an input of a ReLU then crosses zero, or
    # another one of a pooling is the largest, a gradient takes another way.
    assert np.abs(logits["plain"] - logits["cpu"]).max() <= 1e-4 * np.abs(logits["cpu"]).max()
    if not dilated_gradients_are_computed():
        pytest.skip("without oneDNN, TensorFlow computes no gradients of dilated convolutions on CPUs")
    for name in ("cpu", "plain"):
        with forms.chosen(name):
            slopes[name] = gradients(segmenter, discriminator, batch)
    for one, other in zip(slopes["plain"], slopes["cpu"], strict=True):
        assert np.linalg.norm(other) > 0
        assert np.linalg.norm(one - other) <= 1e-2 * np.linalg.norm(other)


@pytest.mark.parametrize("backbone", ["tiny", pytest.param("vgg16", marks=pytest.mark.slow)])
def test_gradients_reach_every_trainable_variable(backbone):
    segmenter = build_segmenter(backbone, CLASSES, "frozen" if backbone == "vgg16" else "synchronized")
    values = gradients(segmenter, build_discriminator(segmenter, CLASSES), images(2, 32, 32))
    assert all(np.isfinite(value).all() and np.any(value) for value in values)


@pytest.mark.usefixtures("mixed_precision")
@pytest.mark.parametrize("batch_norm", ["frozen", "synchronized"])
def test_mixed_precision_computes_features_in_bfloat16_and_logits_in_float32(batch_norm):
    segmenter = build_segmenter("tiny", CLASSES, batch_norm)
    discriminator = build_discriminator(segmenter, CLASSES)
    features = segmenter.features(images(2, 16, 16))
    assert features.dtype == tf.bfloat16
    assert segmenter.classify(features).dtype == discriminator(features).dtype == tf.float32
    assert {variable.dtype for variable in segmenter.variables} == {"float32"}
    values = gradients(segmenter, discriminator, images(2, 16, 16))
    assert all(value.dtype == tf.float32 and np.isfinite(value).all() for value in values)


@pytest.mark.usefixtures("mixed_precision")
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_is_near_itself_in_bfloat16(backbone):
    batch = images(1, 16, 16)
    mixed = build_segmenter(backbone, CLASSES)
    keras.config.set_dtype_policy("float32")
    full = build_segmenter(backbone, CLASSES)
    expected = np.asarray(full(batch))
    np.testing.assert_allclose(mixed(batch), expected, atol=0.05 * np.abs(expected).max())


def test_two_replicas_update_one_set_of_statistics(two_replicas):
    batch = images(4, 16, 16)
    one = build_segmenter("tiny", CLASSES, "synchronized")
    one(batch, training=True)
    with two_replicas.scope():
        two = build_segmenter("tiny", CLASSES, "synchronized")

    @tf.function
    def replicated():
        def replica():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            start = 2 * tf.cast(index, tf.int32)
            two(tf.constant(batch)[start : start + 2], training=True)

        two_replicas.run(replica)

    replicated()
    for variable, expected in zip(two.variables, one.variables, strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-5)


def test_checkpoint_restores_every_weight(tmp_path):
    def make(seed):
        segmenter = build_segmenter("tiny", CLASSES, "synchronized", seed=seed)
        discriminator = build_discriminator(segmenter, CLASSES, seed=seed)
        return segmenter, discriminator, tf.train.Checkpoint(segmenter=segmenter, discriminator=discriminator)

    saved_segmenter, saved_discriminator, checkpoint = make(1)
    path = checkpoint.write(str(tmp_path / "checkpoint"))
    segmenter, discriminator, checkpoint = make(2)
    checkpoint.read(path).assert_consumed()
    pairs = zip(
        segmenter.variables + discriminator.variables,
        saved_segmenter.variables + saved_discriminator.variables,
        strict=True,
    )
    for variable, saved in pairs:
        np.testing.assert_array_equal(variable, saved)


def test_recomputation_needs_block_ends():
    with pytest.raises(InputError, match=r"names no block_ends.*config\.model\.recompute to False"):
        recomputed(build_segmenter("tiny", CLASSES).feature_extractor, "")


@pytest.mark.parametrize(
    "backbone", ["tiny", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vgg16", "resnet50"))]
)
def test_recomputation_changes_no_gradient(backbone):
    batch = images(1, 24, 32)

    def results(recompute):
        segmenter = build_segmenter(backbone, CLASSES, seed=1, recompute=recompute)
        for layer in segmenter.feature_extractor.layers:
            if isinstance(layer, FrozenBatchNorm):
                layer.gamma.assign(0.2 * layer.gamma)  # or values would double from block to block
        count = len(segmenter.trainable_variables)

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(segmenter(batch, training=True) ** 2)
            return tape.gradient(loss, segmenter.trainable_variables)

        values = gradients()
        assert len(values) == count
        convolutions = [n for n in gradients.get_concrete_function().graph.get_operations() if n.type == "Conv2D"]
        return values, len(convolutions)

    (plain, once), (again, more) = results(recompute=False), results(recompute=True)
    assert more > 1.5 * once
    for one, other in zip(plain, again, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * np.abs(one).max())
