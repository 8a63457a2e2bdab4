"""Transforms of an image and its label: pure functions, random ones of an explicit seed.

An image is [height, width, 3] float32 with values 0-255, a label [height, width] uint8 train ids and 255, or None. A
seed is [2] int32. The numbers are those of the FADA reference implementation (its torchvision transforms).
"""

from dataclasses import dataclass

import tensorflow as tf

from fada_tf.data.labels import IGNORE

BRIGHTNESS = CONTRAST = SATURATION = 0.5  # factors are drawn from 1 - value to 1 + value
HUE = 0.2  # turns of the colour circle, either way
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, Pillow's grey


@dataclass(frozen=True)
class Augmentation:
    """What training does with an image and its label; the defaults only resize.

    Args:
        height: rows of the result.
        width: columns of the result.
        color_jitter: change brightness, contrast, saturation and hue.
        random_scale: range of the factor that multiplies the base size; (1, 1) for none.
        base_height: rows of the image at scale 1; 0 for `height`.
        base_width: columns of the image at scale 1; 0 for `width`.
        crop: cut height x width out of the scaled image at random; without it the image is resized to height x width.
        flip: mirror left and right half of the time.
    """

    height: int
    width: int
    color_jitter: bool = False
    random_scale: tuple[float, float] = (1.0, 1.0)
    base_height: int = 0
    base_width: int = 0
    crop: bool = False
    flip: bool = False


def augment(image: tf.Tensor, label: tf.Tensor | None, seed: tf.Tensor, options: Augmentation):
    """Jitters, then resizes or scales and crops, then flips, as `options` say.

    Args:
        image: [any height, any width, 3] float32, 0-255.
        label: [the same height and width] uint8, or None.
        seed: [2] int32; the same seed gives the same result.
        options: which transforms and how much.

    Returns:
        The image [options.height, options.width, 3] float32 and the label of that size, or None.
    """
    jitter_seed, scale_seed, crop_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    if options.color_jitter:
        image = color_jitter(image, jitter_seed)
    if options.crop:
        base = (options.base_height or options.height, options.base_width or options.width)
        size = random_size(base, options.random_scale, scale_seed)
        image, label = resize(image, label, size)
        image, label = random_crop(image, label, (options.height, options.width), crop_seed)
    else:
        image, label = resize(image, label, (options.height, options.width))
    if options.flip:
        image, label = random_flip(image, label, flip_seed)
    image = tf.ensure_shape(image, [options.height, options.width, 3])
    return image, None if label is None else tf.ensure_shape(label, [options.height, options.width])


def resize(image: tf.Tensor, label: tf.Tensor | None, size):
    """Resizes an image and its label to `size`, (height, width)."""
    return resize_image(image, size), None if label is None else resize_label(label, size)


def resize_image(image: tf.Tensor, size) -> tf.Tensor:
    """Resizes as Pillow's antialiased bicubic filter does, to whole grey levels.

    Args:
        image: [height, width, 3] float32 or uint8, 0-255.
        size: (height, width), integers or scalar int32 tensors.

    Returns:
        [*size, 3] float32, integers 0-255.
    """
    image = tf.image.resize(image, size, method="bicubic", antialias=True)
    return tf.clip_by_value(tf.round(image), 0.0, 255.0)


def resize_label(label: tf.Tensor, size) -> tf.Tensor:
    """Resizes by the nearest pixel, exactly as Pillow: it adds up the float64 step, and that decides ties.

    Args:
        label: [height, width], any dtype.
        size: (height, width), integers or scalar int32 tensors.

    Returns:
        [*size], the same dtype.
    """
    for axis, new_length in enumerate(tf.unstack(tf.cast(size, tf.int32))):
        length = tf.shape(label)[axis]
        step = tf.cast(length, tf.float64) / tf.cast(new_length, tf.float64)
        places = tf.cumsum(tf.concat([[step * 0.5], tf.fill([new_length - 1], step)], axis=0))
        label = tf.gather(label, tf.minimum(tf.cast(places, tf.int32), length - 1), axis=axis)
    return label


def random_size(base, scales: tuple[float, float], seed: tf.Tensor) -> tf.Tensor:
    """Returns (height, width) of `base` times a uniform factor from `scales`, rounded down, [2] int32."""
    scale = tf.random.stateless_uniform([], seed, *scales)
    return tf.cast(tf.cast(base, tf.float32) * scale, tf.int32)


def random_crop(image: tf.Tensor, label: tf.Tensor | None, size: tuple[int, int], seed: tf.Tensor):
    """Cuts out `size` (height, width) at random.

    A side that is too short is first padded by what is missing, at BOTH ends (image black, label 255), so that the
    picture's place in the crop is random.
    """
    height, width = size
    shape = tf.shape(image)
    missing = tf.maximum([height, width] - shape[:2], 0)
    paddings = tf.stack([missing, missing], axis=1)
    space = shape[:2] + 2 * missing - [height, width]
    corner = tf.random.stateless_uniform([2], seed) * tf.cast(space + 1, tf.float32)
    top, left = tf.unstack(tf.cast(corner, tf.int32))
    image = tf.pad(image, tf.concat([paddings, [[0, 0]]], axis=0))[top : top + height, left : left + width]
    if label is not None:
        label = tf.pad(label, paddings, constant_values=IGNORE)[top : top + height, left : left + width]
    return image, label


def random_flip(image: tf.Tensor, label: tf.Tensor | None, seed: tf.Tensor):
    """Mirrors image and label left and right, together, with probability 0.5."""
    mirrored = tf.random.stateless_uniform([], seed) < 0.5
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    if label is not None:
        label = tf.cond(mirrored, lambda: tf.reverse(label, [1]), lambda: label)
    return image, label


def color_jitter(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue at random, in random order, as torchvision's ColorJitter."""
    order_seed, amount_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    order = tf.argsort(tf.random.stateless_uniform([4], order_seed))
    amounts = tf.random.stateless_uniform([4], amount_seed, -1.0, 1.0)
    adjustments = [
        lambda image: adjust_brightness(image, 1.0 + BRIGHTNESS * amounts[0]),
        lambda image: adjust_contrast(image, 1.0 + CONTRAST * amounts[1]),
        lambda image: adjust_saturation(image, 1.0 + SATURATION * amounts[2]),
        lambda image: adjust_hue(image, HUE * amounts[3]),
    ]
    for position in range(len(adjustments)):
        current = image
        image = tf.switch_case(
            order[position], [lambda adjust=adjust, current=current: adjust(current) for adjust in adjustments]
        )
    return image


def adjust_brightness(image: tf.Tensor, factor) -> tf.Tensor:
    """Multiplies by `factor`; 0 is black, 1 leaves the image as it is."""
    return tf.clip_by_value(image * factor, 0.0, 255.0)


def adjust_contrast(image: tf.Tensor, factor) -> tf.Tensor:
    """Moves away from (factor above 1) or towards the mean grey level of the whole image."""
    # An integer sum, because it is the same in whatever order threads add it up.
    total = tf.reduce_sum(tf.cast(tf.round(_grey(image)), tf.int64))
    mean = tf.round(tf.cast(total / tf.cast(tf.size(image) // 3, tf.int64), tf.float32))
    return tf.clip_by_value(mean + factor * (image - mean), 0.0, 255.0)


def adjust_saturation(image: tf.Tensor, factor) -> tf.Tensor:
    """Moves each pixel away from (factor above 1) or towards its own grey."""
    grey = _grey(image)
    return tf.clip_by_value(grey + factor * (image - grey), 0.0, 255.0)


def adjust_hue(image: tf.Tensor, turns) -> tf.Tensor:
    """Turns hues by `turns`, -0.5 to 0.5 of the colour circle."""
    return tf.clip_by_value(tf.image.adjust_hue(image, turns), 0.0, 255.0)


def _grey(image: tf.Tensor) -> tf.Tensor:
    return tf.tensordot(image, tf.constant(LUMA), 1)[..., None]
