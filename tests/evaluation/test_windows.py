"""Sliding windows against golden numbers, and against a slow program that follows their definition."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf import forms
from fada_tf.config import Config
from fada_tf.errors import InputError
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.evaluation.prediction import Predictor, segment_files
from fada_tf.evaluation.views import Views
from fada_tf.models import class_maps
from fada_tf.models.layers import resize, resize_align_corners
from fada_tf.runs import checkpoint
from fada_tf.runs.results import Scoring
from fada_tf.windows import AVERAGES, Windows
from tests.goldens import recipe

GOLDEN = recipe.load("ops_windows")
CLASSES = 4
SIZE = (45, 62)  # of the result: not the image's


class Segmenter:
    """The golden file's, which is cheap: logits of a pixel's own colours, that rise with its place in the window."""

    num_classes, backbone = CLASSES, "vgg16"

    def __init__(self, stride: int = 1, align_corners: bool = True):
        self.stride, self.align_corners, self.shapes = stride, align_corners, []

    def __call__(self, pixels: tf.Tensor, training: bool) -> tf.Tensor:
        assert not training
        self.shapes.append(tuple(pixels.shape))
        pixels = tf.nn.avg_pool2d(tf.cast(pixels, tf.float32), self.stride, self.stride, "SAME")
        height, width = tf.unstack(tf.cast(tf.shape(pixels)[1:3], tf.float32))
        rows, columns = tf.range(height)[:, None, None] / height, tf.range(width)[:, None] / width
        places = rows * GOLDEN["row_slope"] + columns * GOLDEN["column_slope"]
        return tf.einsum("kc,nhwc->nhwk", GOLDEN["matrix"], pixels) + places


@pytest.fixture(scope="module")
def image() -> tf.Tensor:
    noise = np.random.default_rng(5).uniform(0, 20, (1, 6, 8, 3)).astype("f")
    return tf.cast(tf.image.resize(noise, (41, 57)), tf.uint8)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(
    ("case", "form", "traced"), [(0, "cpu", False), (0, "plain", True), (1, "cpu", False), (2, "cpu", False)]
)
def test_windows_are_the_golden_ones(case, form, traced, average, monkeypatch):
    monkeypatch.setattr(class_maps, "_BLOCK_VALUES", 80 * CLASSES * 9)  # nine rows of case 0, and not all of any
    height, width, *sides = GOLDEN["arg_cases"][case].tolist()
    windows = Windows(tuple(sides[:2]), tuple(sides[2:]), average)
    segmenter, views = Segmenter(), Views(windows=windows)
    image = recipe.channels_last(recipe.image(int(GOLDEN["arg_seed"]) + 10 + case, (1, 3, height, width)))

    def see(images):
        found = views.logits(segmenter, images, at_once=3)
        size = tf.shape(images)[1:3]
        return found[0], views.probabilities(segmenter, found, size), views.class_map(segmenter, found, size)

    if traced:
        see = tf.function(see, [tf.TensorSpec([1, None, None, 3])], autograph=False)
    with forms.chosen(form):
        found, probabilities, class_map = see(image)
    np.testing.assert_array_equal(found.tops[0], GOLDEN[f"rows{case}"])
    np.testing.assert_array_equal(found.lefts[0], GOLDEN[f"columns{case}"])
    assert views.number_of_windows(height, width) == len(found.tops[0]) * len(found.lefts[0])
    expected = recipe.channels_last(GOLDEN[f"mean_{average}{case}"][None])
    if average == "logits":
        expected = tf.nn.softmax(expected)
    # Means of a few float32 numbers up to 20, of which a softmax takes the difference.
    np.testing.assert_allclose(probabilities, expected, atol=2e-5)
    np.testing.assert_array_equal(class_map[0], GOLDEN[f"labels_of_mean_{average}{case}"])


def mean_over_windows(segmenter, image, windows: Windows) -> np.ndarray:
    """Returns scores at the size of an image [1, height, width, 3], window by window."""
    height, width = image.shape[1:3]
    (rows, columns), (down, right) = windows.window, windows.stride
    total, count = np.zeros((1, height, width, CLASSES)), np.zeros((height, width, 1))
    for top in range(0, height - rows + down, down):
        for left in range(0, width - columns + right, right):
            y, x = min(top, height - rows), min(left, width - columns)
            part = slice(y, y + rows), slice(x, x + columns)
            scores = segmenter(image[:, part[0], part[1]], training=False)
            scores = resize(scores, (rows, columns), align_corners=segmenter.align_corners).numpy()
            total[:, part[0], part[1]] += tf.nn.softmax(scores).numpy() if windows.average == "softmax" else scores
            count[part] += 1
    assert count.min() == 1 and count.max() >= 4
    return (total / count).astype(np.float32)


def mean_over_views(segmenter, image, windows: Windows) -> np.ndarray:
    """Returns probabilities at SIZE, of two scales and their mirror images."""
    total = np.zeros((1, *SIZE, CLASSES))
    for height, width in ((32, 45), (41, 57)):
        scaled = resize_align_corners(image, (height, width)).numpy()
        for turn in (slice(None), slice(None, None, -1)):
            scores = mean_over_windows(segmenter, scaled[:, :, turn], windows)[:, :, turn]
            scores = resize(scores, SIZE, align_corners=segmenter.align_corners)
            total += (scores if windows.average == "softmax" else tf.nn.softmax(scores)).numpy() / 4
    return total


@pytest.mark.parametrize(
    ("average", "align_corners"), [("logits", True), pytest.param("softmax", False, marks=pytest.mark.slow)]
)
def test_each_view_is_seen_by_windows(image, average, align_corners, monkeypatch):
    monkeypatch.setattr(class_maps, "_BLOCK_VALUES", 90 * CLASSES * 20)
    segmenter, windows = Segmenter(4, align_corners), Windows((24, 30), (15, 20), average)
    views = Views((0.8, 1.0), flip=True, windows=windows)
    expected = mean_over_views(segmenter, image, windows)
    seen = views.logits(segmenter, image)
    # Logits of up to 50, of which a softmax takes the difference.
    np.testing.assert_allclose(views.probabilities(segmenter, seen, SIZE), expected, atol=1e-4)
    clear = np.sort(expected, -1)[..., -1] - np.sort(expected, -1)[..., -2] > 1e-3
    assert clear.mean() > 0.98
    class_map = views.class_map(segmenter, seen, SIZE).numpy()
    np.testing.assert_array_equal(class_map[clear], expected.argmax(-1)[clear])


def test_a_window_larger_than_the_image_is_cut_to_it(image):
    segmenter, whole, cut = Segmenter(4), Views(), Views(windows=Windows((64, 100), (32, 32)))
    assert cut.number_of_windows(41, 57) == 1
    expected, found = (
        views.probabilities(segmenter, views.logits(segmenter, image), (41, 57)) for views in (whole, cut)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_few_windows_and_few_scores_are_alive_at_once(monkeypatch):
    sizes, softmax, segmenter = [], tf.nn.softmax, Segmenter(4)
    monkeypatch.setattr(tf.nn, "softmax", lambda values: sizes.append(values.shape.num_elements()) or softmax(values))
    monkeypatch.setattr(class_maps, "_BLOCK_VALUES", 1 << 14)
    views = Views(windows=Windows((32, 32), (24, 24), "softmax"))
    images = tf.zeros([1, 120, 160, 3], tf.uint8)
    class_map = views.class_map(segmenter, views.logits(segmenter, images, at_once=4), (120, 160))
    assert class_map.shape == (1, 120, 160)
    assert segmenter.shapes == [(4, 32, 32, 3)] * 8 + [(3, 32, 32, 3)]  # 5 x 7 windows
    assert max(sizes) <= 1 << 14 < 120 * 160 * CLASSES


def test_the_predictor_sees_what_the_evaluator_sees_and_tells_how_far_it_is(image):
    segmenter, views, told = Segmenter(4), Views((1.0, 0.8), windows=Windows((24, 26), (17, 20))), []
    predictor = Predictor(segmenter, 0, 0, views, batch_size=4, progress=lambda *seen: told.append(seen))
    class_map = predictor(image[0])
    assert told == [(4, 10), (6, 10), (10, 10)]  # two by three, then two by two
    assert len(np.unique(class_map)) > 1
    batch = {"image": image, "label": class_map[None], "label_size": np.array([class_map.shape], np.int32)}
    dataset = tf.data.Dataset.from_tensors(batch)
    evaluator = Evaluator(segmenter, dataset, tuple("abcd"), tf.distribute.get_strategy(), views=views)
    evaluator.evaluate(-1)
    assert evaluator.scores.pixel_accuracy > 0.999


def test_a_picture_that_a_network_cannot_see_at_its_own_size_is_named_and_others_are_segmented(tmp_path):
    for name, height in (("a", 20), ("b", 5), ("c", 24)):
        Image.new("RGB", (24, height)).save(tmp_path / f"{name}.png")
    predictor, bad = Predictor(Segmenter(4), 0, 0, Views(windows=Windows((16, 16), (16, 16)))), []
    found = list(segment_files(predictor, str(tmp_path), ["a.png", "b.png", "c.png"], bad.append))
    assert [(name, class_map.shape) for name, _, class_map in found] == [("a.png", (20, 24)), ("c.png", (24, 24))]
    (line,) = map(str, bad)
    assert line.startswith(
        f"{tmp_path}/b.png: the window in the image at scale 1 is 5 x 16 pixels, and backbone 'vgg16'"
    )


def test_windows_are_read_from_texts():
    assert Windows.parse("") is None
    assert Windows.parse("512x1024") == Windows((512, 1024), (341, 682))
    assert Windows.parse("8x9", "4x3", "softmax") == Windows((8, 9), (4, 3), "softmax")
    assert Windows.parse("1x1") == Windows((1, 1), (1, 1))
    windows = Windows((8, 9), (4, 3), "softmax")
    assert Windows.parse(**windows.texts) == windows


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("512",), "--window is '512': give HEIGHTxWIDTH"),
        (("512x",), "give HEIGHTxWIDTH"),
        (("-5x512",), "give HEIGHTxWIDTH"),
        (("5x1234567",), "give HEIGHTxWIDTH"),
        (("0x512",), "give a height and a width above 0"),
        (("512x512", "0x10"), "give 1 pixel or more"),
        (("512x512", "512x513"), "no more than the window 512x512, or pixels between would be in none"),
        (("512x512", "half"), "--stride is 'half': give HEIGHTxWIDTH"),
        (("512x512", "", "median"), "choose from logits, softmax"),
        (("", "64x64"), "--stride is '64x64' without a window"),
        (("", "", "softmax"), "--average is 'softmax' without a window"),
    ],
)
def test_what_is_no_window_is_refused(texts, message):
    with pytest.raises(InputError) as caught:
        Windows.parse(*texts)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("backbone", "window", "size", "message"),
    [
        ("vgg16", (7, 64), (0, 0), "the window is 7 x 64 pixels, and backbone 'vgg16' needs 8 a side"),
        ("vgg16", (64, 64), (512, 7), "the window in the image at scale 1 is 64 x 7 pixels"),
        (
            "dinov2_small",
            (28, 30),
            (0, 0),
            "the window is 28 x 30 pixels, and backbone 'dinov2_small' sees multiples of 14",
        ),
        ("dinov2_small", (56, 56), (56, 50), "the window in the image at scale 1 is 56 x 50 pixels"),
        ("dinov2_small", (56, 56), (100, 57), None),
    ],
)
def test_windows_that_a_network_cannot_see_are_refused(backbone, window, size, message):
    views = Views(windows=Windows(window, window))
    if message is None:
        views.check(backbone, *size)
        return
    with pytest.raises(InputError) as caught:
        views.check(backbone, *size)
    assert message in str(caught.value)


def test_results_by_windows_lie_apart_and_say_so(tmp_path):
    whole = Scoring("records", 24, 32)
    windows = Windows((16, 20), (10, 10), "softmax")
    by_windows = dataclasses.replace(whole, windows=windows, flip=True)
    assert by_windows.folder("run").endswith("/32x24_flip_window16x20_stride10x10_softmax")
    assert dataclasses.replace(by_windows, height=0, width=0).folder("run").split("/")[-1].startswith("own_size_")
    assert whole.folder("run").endswith("/32x24")


@pytest.mark.parametrize(
    ("given", "evaluated", "expected"),
    [
        (("",), "", (24, 32, None)),
        (("48x56", "30x30", "softmax"), "", (0, 0, Windows((48, 56), (30, 30), "softmax"))),
        (("",), "16x16", (24, 32, Windows((16, 16), (10, 10)))),
        (("12x12",), "16x16", (0, 0, Windows((12, 12), (8, 8)))),
        (("none",), "16x16", (24, 32, None)),
    ],
)
def test_a_run_is_seen_as_it_was_evaluated_unless_a_window_is_given(monkeypatch, given, evaluated, expected):
    config = Config()
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    config.data.evaluation.window = evaluated
    monkeypatch.setattr(checkpoint, "run_config", lambda path: config)
    assert checkpoint.sight("run", 0, 0, *given) == expected
    height = checkpoint.sight("run", 40, 0, *given)[:2]
    assert height == (40, 32)
    config.data.evaluation.height = config.data.evaluation.width = 0
    if evaluated and not given[0]:
        assert checkpoint.sight("run", 0, 0)[:2] == (0, 0)
    elif given[0] in ("", "none"):
        with pytest.raises(InputError, match="has no evaluation size"):
            checkpoint.sight("run", 0, 0, *given)
