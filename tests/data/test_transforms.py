import os

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf.data import color, transforms
from tests.data import makers

PHOTO = os.path.join(os.path.dirname(__file__), "../../../shared/data/camvid/images/test/0001TP_008550.jpg")
SIZES = [(180, 240), (123, 211), (90, 120), (512, 640), (360, 480)]


def seed(i: int) -> tf.Tensor:
    return tf.constant([i, 7])


def as_float(array: np.ndarray) -> tf.Tensor:
    return tf.constant(array, tf.float32)


def levels(image: tf.Tensor) -> np.ndarray:
    return np.asarray(image, np.int32)


def pillow_resize(array: np.ndarray, size: tuple[int, int], kind) -> np.ndarray:
    return np.asarray(Image.fromarray(array).resize(size[::-1], kind))


@pytest.mark.parametrize("size", SIZES)
def test_images_are_resized_as_by_pillow_on_a_real_photo(size):
    if not os.path.exists(PHOTO):
        pytest.skip("the photo lies outside this repository and is not there")
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    expected = pillow_resize(photo, size, Image.Resampling.BICUBIC)
    difference = levels(transforms.resize_image(photo, size)) - expected
    assert np.abs(difference).mean() < 0.25  # grey levels
    assert np.abs(np.mean(difference)) < 0.05


@pytest.mark.parametrize("size", SIZES)
def test_images_are_resized_as_by_pillow(size):
    image = makers.texture(360, 480)
    resized = transforms.resize_image(as_float(image), size)
    difference = np.abs(levels(resized) - pillow_resize(image, size, Image.Resampling.BICUBIC))
    assert difference.mean() < 0.25
    assert resized.shape == (*size, 3)
    assert resized.dtype == tf.uint8


def test_rounding_takes_the_nearest_grey_level_and_the_even_one_of_two():
    values = np.concatenate([np.arange(-40, 300, 0.25), [-1e9, 1e9]]).astype(np.float32)
    expected = np.clip(np.round(values), 0, 255)
    np.testing.assert_array_equal(transforms.round_to_grey_levels(tf.constant(values)), expected)


@hypothesis.given(*[st.integers(1, 90)] * 4)
@hypothesis.settings(max_examples=100)
def test_labels_are_resized_exactly_as_by_pillow(height, width, new_height, new_width):
    label = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)
    resized = transforms.resize_label(tf.constant(label), (new_height, new_width))
    np.testing.assert_array_equal(resized, pillow_resize(label, (new_height, new_width), Image.Resampling.NEAREST))


@pytest.mark.parametrize("size", [((1052, 1914), (720, 1280)), ((1024, 2048), (512, 1024)), ((760, 1280), (512, 1024))])
def test_labels_of_the_papers_sizes_are_resized_exactly_as_by_pillow(size):
    old, new = size
    label = (np.arange(old[0] * old[1]).reshape(old) % 251).astype(np.uint8)
    np.testing.assert_array_equal(
        transforms.resize_label(tf.constant(label), new), pillow_resize(label, new, Image.Resampling.NEAREST)
    )


def test_random_size_is_the_scaled_base_rounded_down():
    sizes = np.array([transforms.random_size((1024, 2048), (0.5, 1.5), seed(i)) for i in range(150)])
    scale = sizes[:, 1] / 2048
    assert 0.5 <= scale.min() < 0.53 and 1.47 < scale.max() <= 1.5
    assert (np.abs(sizes[:, 0] - 1024 * scale) < 1).all()
    np.testing.assert_array_equal(transforms.random_size((33, 65), (1.0, 1.0), seed(0)), [33, 65])


@hypothesis.given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
def test_crop_moves_image_and_label_together_and_pads_with_black_and_255(height, width, new_height, new_width, i):
    label = (np.arange(height * width).reshape(height, width) % 254 + 1).astype(np.uint8)
    image = as_float(np.repeat(label[..., None], 3, axis=2))
    cut, cut_label = transforms.random_crop(image, tf.constant(label), (new_height, new_width), seed(i))
    assert cut.shape == (new_height, new_width, 3)
    assert cut_label.shape == (new_height, new_width)
    np.testing.assert_array_equal(cut[..., 0], np.where(cut_label == 255, 0, cut_label))
    # Along a side that is long enough nothing is padded; along one that is too short the whole picture is there.
    inside = cut_label.numpy() != 255
    assert inside.sum() == min(height, new_height) * min(width, new_width)
    np.testing.assert_array_equal(cut, transforms.random_crop(image, None, (new_height, new_width), seed(i))[0])


def test_crop_reaches_every_place():
    label = tf.constant(np.arange(12).reshape(3, 4), tf.uint8)
    image = tf.zeros((3, 4, 3))
    corners = {int(transforms.random_crop(image, label, (2, 2), seed(i))[1][0, 0]) for i in range(60)}
    assert corners == {0, 1, 2, 4, 5, 6}
    # A picture 2 too short is padded by 2 at both ends and may begin at 0, 1 or 2.
    starts = {int(np.argmax(transforms.random_crop(image, label, (3, 6), seed(i))[1][0] == 0)) for i in range(30)}
    assert starts == {0, 1, 2}


def crop_for_class(label: np.ndarray, size: tuple[int, int], i: int, class_id: int, class_pixels: float) -> np.ndarray:
    image = tf.repeat(label[..., None], 3, axis=2)
    cut, cut_label = transforms.random_crop(image, tf.constant(label), size, seed(i), class_id, class_pixels)
    np.testing.assert_array_equal(cut[..., 0], np.where(cut_label == 255, 0, cut_label))
    return cut_label.numpy()


def test_a_crop_shows_its_class_where_one_of_ten_does():
    label = np.ones((40, 60), np.uint8)
    label[24:, 30:54] = 7  # a third of the crops have more than 20 pixels of it
    crops = {limit: [crop_for_class(label, (12, 12), i, 7, limit) for i in range(40)] for limit in (0.0, 20.0, 144.0)}
    shown = {limit: np.array([(cut == 7).sum() for cut in cuts]) for limit, cuts in crops.items()}
    assert 4 < (shown[0] > 20).sum() < 22 and (shown[20] > 20).sum() > 35
    for plain, chosen, number in zip(crops[0], crops[20], shown[0], strict=True):
        assert number <= 20 or (plain == chosen).all()  # the first one is that of no condition
    # Where none can, it is the last: any crop, not the best, nor the first.
    assert 4 < (shown[144] > 20).sum() < 22 and (shown[144] != shown[0]).any()


def test_a_crop_must_have_more_pixels_of_the_class_than_the_limit():
    label = (np.arange(1200).reshape(30, 40) % 200).astype(np.uint8)
    for i in range(5):
        first = crop_for_class(label, (1, 1), i, -1, 0.0)
        own = int(first[0, 0])
        np.testing.assert_array_equal(crop_for_class(label, (1, 1), i, own, 0.5), first)
        assert (crop_for_class(label, (1, 1), i, own, 1.0) != first).any()


def test_flip_mirrors_image_and_label_together_half_of_the_time():
    label = tf.constant(np.arange(12).reshape(3, 4), tf.uint8)
    image = tf.repeat(tf.cast(label, tf.float32)[..., None], 3, axis=2)
    flips = 0
    for i in range(120):
        flipped, flipped_label = transforms.random_flip(image, label, seed(i))
        np.testing.assert_array_equal(flipped[..., 0], flipped_label)
        flips += int(flipped_label[0, 0] == 3)
    assert 40 < flips < 80


def test_augment_without_options_only_resizes():
    image, label = makers.texture(20, 30), np.full((20, 30), 5, np.uint8)
    options = transforms.Augmentation(10, 18)
    resized, resized_label = transforms.augment(image, tf.constant(label), seed(0), options)
    np.testing.assert_array_equal(resized, transforms.resize_image(image, (10, 18)))
    np.testing.assert_array_equal(resized_label, np.full((10, 18), 5))
    assert transforms.augment(image, None, seed(0), options)[1] is None


@hypothesis.given(
    st.integers(8, 60), st.integers(8, 60), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99)
)
def test_augment_always_gives_the_size_asked_for(height, width, jitter, crop, flip, i):
    options = transforms.Augmentation(
        16,
        24,
        color_jitter=jitter,
        crop=crop,
        flip=flip,
        random_scale=(0.5, 1.5) if crop else (1.0, 1.0),
        base_height=height,
        base_width=width,
    )
    image, label = makers.texture(height, width), np.full((height, width), 3, np.uint8)
    result, result_label = transforms.augment(tf.constant(image), tf.constant(label), seed(i), options)
    assert result.shape == (16, 24, 3)
    assert result.dtype == tf.uint8
    assert result_label.shape == (16, 24)
    assert set(np.unique(result_label)) <= {3, 255}
    assert (result_label.numpy() == 3).any()


def test_margins_are_pixels_of_the_stored_image_and_go_with_the_label():
    label = np.arange(2048, dtype=np.int32).reshape(32, 64) % 250
    image = np.repeat(label[..., None], 3, axis=2).astype(np.uint8)
    expected = np.full((32, 64), 255)
    expected[3:25, 2:60] = label[3:25, 2:60]

    def augmented(**options):
        options = transforms.Augmentation(margins=(3, 7, 2, 4), **options)
        image_and_label = tf.constant(image), tf.constant(label.astype(np.uint8))
        return [result.numpy() for result in transforms.augment(*image_and_label, seed(2), options)]

    np.testing.assert_array_equal(augmented(height=32, width=64)[1], expected)
    half = transforms.resize_label(expected, (16, 32))  # rows 1, 3, ... 31 and columns alike
    np.testing.assert_array_equal(augmented(height=16, width=32)[1], half)
    assert (np.asarray(half) != 255).sum() == 11 * 29
    cut, cut_label = augmented(height=40, width=50, base_height=32, base_width=64, crop=True, flip=True)
    seen = cut_label != 255
    assert seen.any(axis=1).sum() == 22 and (cut[..., 0] == cut_label)[seen].all()
    assert cut.any(axis=(1, 2)).sum() == 32  # the image itself keeps its margins


def test_jitter_comes_before_the_resize():
    image = tf.constant(makers.texture(20, 30))
    options = transforms.Augmentation(10, 15, color_jitter=True)
    jitter_seed = tf.random.experimental.stateless_split(seed(3), 4)[0]
    expected = transforms.resize_image(color.color_jitter(image, jitter_seed), (10, 15))
    np.testing.assert_array_equal(transforms.augment(image, None, seed(3), options)[0], expected)
    assert np.abs(levels(expected) - levels(transforms.resize_image(image, (10, 15)))).max() > 1
