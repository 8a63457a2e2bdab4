"""The multi-scale test against the authors' order of operations, step by step."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import benchmark, forms
from fada_tf.errors import InputError
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.evaluation.prediction import Predictor
from fada_tf.evaluation.views import Views
from fada_tf.models import class_maps
from fada_tf.models.class_maps import predict_class_map, predict_confident_map
from fada_tf.models.layers import resize, resize_align_corners
from fada_tf.models.segmenter import build_segmenter
from fada_tf.runs.results import PAPER_SCALES

SIZE = (37, 50)  # of the label: not the image's


@pytest.fixture(scope="module")
def segmenter():
    model = build_segmenter("tiny", 4, "synchronized", seed=1)
    rng = np.random.default_rng(0)
    for weight in model.classifier.weights:  # large enough for classes to win by much
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


@pytest.fixture(scope="module")
def image() -> tf.Tensor:
    noise = np.random.default_rng(5).uniform(0, 255, (1, 6, 8, 3)).astype("f")
    return tf.ensure_shape(tf.image.resize(noise, (41, 57)), (1, 41, 57, 3))


def mean_probabilities(segmenter, image: tf.Tensor) -> np.ndarray:
    """Returns the mean of six softmaxes, each at the label's size; sizes are rounded down."""
    total = 0.0
    for height, width in ((28, 39), (41, 57), (53, 74)):
        scaled = resize_align_corners(image, (height, width))
        for mirrored in (False, True):
            view = scaled[:, :, ::-1] if mirrored else scaled
            found = tf.nn.softmax(resize_align_corners(segmenter(view), SIZE)).numpy()
            total = total + (found[:, :, ::-1] if mirrored else found) / 6
    return total


def test_multi_scale_is_the_mean_of_six_softmaxes_at_the_labels_size(segmenter, image):
    expected = mean_probabilities(segmenter, image)
    found = predict_class_map(Views(PAPER_SCALES, flip=True).logits(segmenter, image), SIZE, align_corners=True)
    clear = np.sort(expected, -1)[..., -1] - np.sort(expected, -1)[..., -2] > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found.numpy()[clear], expected.argmax(-1)[clear])
    single = predict_class_map(Views().logits(segmenter, image), SIZE, align_corners=True).numpy()
    assert (single != found.numpy()).any()


def test_flipping_makes_the_class_map_of_the_mirrored_image_the_mirrored_class_map(segmenter, image):
    views = Views(flip=True)
    one = predict_class_map(views.logits(segmenter, image), SIZE, align_corners=True).numpy()
    other = predict_class_map(views.logits(segmenter, image[:, :, ::-1]), SIZE, align_corners=True).numpy()
    assert (one == other[:, :, ::-1]).mean() > 0.99
    plain = predict_class_map(Views().logits(segmenter, image[:, :, ::-1]), SIZE, align_corners=True).numpy()
    assert (one == plain[:, :, ::-1]).mean() < 0.99


def test_the_evaluator_and_the_predictor_see_the_same_views(segmenter, image):
    views = Views((0.7, 1.0), flip=True)
    class_map = Predictor(segmenter, 41, 57, views)(tf.cast(tf.round(image[0]), tf.uint8).numpy())
    batch = {"image": tf.round(image), "label": class_map[None], "label_size": np.array([class_map.shape], np.int32)}
    dataset = tf.data.Dataset.from_tensors(batch)
    evaluator = Evaluator(segmenter, dataset, tuple("abcd"), tf.distribute.get_strategy(), views=views)
    evaluator.evaluate(-1)
    assert evaluator.scores.pixel_accuracy > 0.999


@pytest.mark.parametrize(("views", "align_corners"), [pytest.param(1, True, marks=pytest.mark.slow), (3, False)])
@pytest.mark.parametrize("form", ["cpu", "plain"])
def test_rows_in_blocks_are_the_rows_of_the_whole(monkeypatch, form, views, align_corners):
    rng = np.random.default_rng(2)
    logits = [tf.constant(rng.normal(0, 3, (2, 5 + i, 7, 6)), tf.float32) for i in range(views)]
    whole = sum(tf.nn.softmax(resize(view, SIZE, align_corners=align_corners)).numpy() for view in logits)
    clear = np.sort(whole, -1)[..., -1] - np.sort(whole, -1)[..., -2] > 1e-5
    assert clear.mean() > 0.99
    for block in (1, 2 * 50 * 6 * 4, 1 << 20):  # one row, blocks of which the last is shorter, all
        monkeypatch.setattr(class_maps, "_BLOCK_VALUES", block)
        for size in (SIZE, tf.constant(SIZE)):
            with forms.chosen(form):
                found = tf.function(predict_class_map)(logits, size, align_corners=align_corners).numpy()
            assert found.shape == (2, *SIZE)
            np.testing.assert_array_equal(found[clear], whole.argmax(-1)[clear])


@pytest.mark.parametrize("form", ["cpu", "plain"])
def test_benchmarks_can_count_where_sizes_are_known(form):
    call = tf.function(lambda logits: predict_class_map(logits, tf.constant([64, 96]), align_corners=True))
    with forms.chosen(form):
        counts = benchmark.count_parts(call.get_concrete_function(tf.TensorSpec([1, 8, 12, 3], tf.float32)), {})
    assert counts["other"]["bytes"] > 4 * 64 * 96  # the class map


def test_the_scores_of_a_large_picture_are_never_alive_at_once(monkeypatch):
    sizes, argmax, softmax = [], tf.argmax, tf.nn.softmax
    monkeypatch.setattr(tf, "argmax", lambda values, **options: sizes.append(values.shape) or argmax(values, **options))
    monkeypatch.setattr(tf.nn, "softmax", lambda values: sizes.append(values.shape) or softmax(values))
    logits = tf.random.stateless_normal([1, 16, 24, 30], [0, 1])
    assert predict_class_map([logits, logits], (400, 600), align_corners=True).shape == (1, 400, 600)
    for views in ([logits, logits], [logits]):
        for each in predict_confident_map(views, (400, 600), align_corners=True):
            assert each.shape == (1, 400, 600)
    assert max(shape.num_elements() for shape in sizes) <= class_maps._BLOCK_VALUES < 400 * 600 * 30


@pytest.mark.slow
def test_scaled_sizes_are_those_that_the_backbone_sees(networks_of_the_tests):
    segmenter, views = build_segmenter("vit_tiny", 3, head="vfm_uda"), Views((0.7, 1.0, 1.3))
    views.check("vit_tiny", 42, 56)
    with pytest.raises(InputError, match="image at scale 1 is 40 x 56 pixels, and backbone 'vit_tiny' sees multiples"):
        views.check("vit_tiny", 40, 56)
    images = tf.zeros([1, 42, 56, 3])
    of_unknown_size = tf.function(lambda images: views.logits(segmenter, images), [tf.TensorSpec([1, None, None, 3])])
    for logits in (views.logits(segmenter, images), of_unknown_size(images)):
        # Of 28 x 28, 42 x 56 and 42 x 70 pixels, at stride 3.5.
        assert [tuple(each.shape[1:3]) for each in logits] == [(8, 8), (12, 16), (12, 20)]


@pytest.mark.parametrize("scales", [["0"], ["1", "x"], [], ["-1"], ["nan"], ["inf"]])
def test_scales_must_be_numbers_above_0(scales):
    with pytest.raises(InputError, match="give numbers above 0"):
        Views.parse(scales, flip=False)


@pytest.mark.parametrize(("rows", "align_corners"), [(1, False), (3, True), (100, False)])
def test_pseudo_labels_are_the_likeliest_classes_with_their_probabilities(monkeypatch, rows, align_corners):
    monkeypatch.setattr(class_maps, "_BLOCK_VALUES", rows * 2 * 12 * 5)
    logits = tf.constant(np.random.default_rng(0).normal(0, 3, (2, 3, 4, 5)), tf.float32)
    labels, confidence = predict_confident_map(logits, (9, 12), align_corners=align_corners)
    probabilities = tf.nn.softmax(resize(logits, (9, 12), align_corners=align_corners)).numpy()
    np.testing.assert_array_equal(labels, probabilities.argmax(-1))
    np.testing.assert_allclose(confidence, probabilities.max(-1), rtol=1e-5)
