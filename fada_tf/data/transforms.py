"""Transforms of an image and its label: pure functions, random ones of an explicit seed.

An image is [height, width, 3] uint8, a label [height, width] uint8, or None. A seed is [2] int32. The numbers are those
of the FADA reference implementation.
"""

from dataclasses import dataclass

import tensorflow as tf

from fada_tf.data.color import color_jitter
from fada_tf.data.labels import IGNORE

_CROPS = 10  # random crops that are tried


@dataclass(frozen=True)
class Augmentation:
    """What training does with an image and its label; the defaults only resize.

    Attributes:
      height: rows of the result.
      width: columns of the result.
      color_jitter: change brightness, contrast, saturation and hue.
      random_scale: range of the factor that multiplies the base size; (1, 1) for none.
      base_height: rows of the image at scale 1; 0 for `height`.
      base_width: columns of the image at scale 1; 0 for `width`.
      crop: cut height x width out of the scaled image at random; without it the image is resized to height x width.
      flip: mirror left and right half of the time.
      margins: pixels at top, bottom, left and right of the image before all that, whose label becomes 255.
      crop_class_pixels: a crop must have more pixels of the class that its image was drawn for; 0: it may be any.
    """

    height: int
    width: int
    color_jitter: bool = False
    random_scale: tuple[float, float] = (1.0, 1.0)
    base_height: int = 0
    base_width: int = 0
    crop: bool = False
    flip: bool = False
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)
    crop_class_pixels: float = 0.0

    @property
    def labels_all(self) -> bool:
        """Whether every pixel of the result keeps its label, as none is of a margin or beside the image."""
        return not self.crop and not any(self.margins)


def augment(
    image: tf.Tensor,
    label: tf.Tensor | None,
    seed: tf.Tensor,
    options: Augmentation,
    class_id: tf.Tensor | int = -1,
):
    """Empties the label's margins, jitters, then resizes or scales and crops, then flips, as `options` say.

    Args:
      image: [any height, any width, 3] uint8.
      label: [the same height and width] uint8, or None.
      seed: [2] int32; the same seed gives the same result.
      options: which transforms and how much.
      class_id: scalar integer, the class that the image was drawn for; -1 for none.

    Returns:
      The image [options.height, options.width, 3] uint8 and the label of that size, or None.
    """
    jitter_seed, scale_seed, crop_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    if label is not None and any(options.margins):
        label = without_margins(label, options.margins)
    if options.color_jitter:
        image = color_jitter(image, jitter_seed)
    if options.crop:
        base = (options.base_height or options.height, options.base_width or options.width)
        size = random_size(base, options.random_scale, scale_seed)
        image, label = resize(image, label, size)
        size = (options.height, options.width)
        image, label = random_crop(image, label, size, crop_seed, class_id, options.crop_class_pixels)
    else:
        image, label = resize(image, label, (options.height, options.width))
    if options.flip:
        image, label = random_flip(image, label, flip_seed)
    image = tf.ensure_shape(image, [options.height, options.width, 3])
    return image, None if label is None else tf.ensure_shape(label, [options.height, options.width])


def without_margins(label: tf.Tensor, margins: tuple[int, int, int, int]) -> tf.Tensor:
    """Returns the label with 255 in the margins (top, bottom, left, right), which are smaller than it."""
    top, bottom, left, right = margins
    height, width = tf.unstack(tf.shape(label))
    inside = label[top : height - bottom, left : width - right]
    return tf.pad(inside, [[top, bottom], [left, right]], constant_values=IGNORE)


def resize(image: tf.Tensor, label: tf.Tensor | None, size):
    """Resizes an image and its label to `size`, (height, width)."""
    return resize_image(image, size), None if label is None else resize_label(label, size)


def resize_image(image: tf.Tensor, size) -> tf.Tensor:
    """Resizes as Pillow's antialiased bicubic filter does, to whole grey levels.

    Args:
      image: [height, width, 3] uint8 or float32, 0-255.
      size: (height, width), integers or scalar int32 tensors.

    Returns:
      [*size, 3] uint8.
    """

    def resized() -> tf.Tensor:
        return round_to_grey_levels(tf.image.resize(image, size, method="bicubic", antialias=True))

    same = (lambda: image) if image.dtype == tf.uint8 else (lambda: round_to_grey_levels(image))
    return tf.cond(_has_size(image, size), same, resized)


def round_to_grey_levels(pixels: tf.Tensor) -> tf.Tensor:
    """Returns float32 values as uint8: the nearest of 0 to 255, the even one of two, in one pass over them."""
    quantized = tf.raw_ops.QuantizeV2(
        input=pixels, min_range=0.0, max_range=255.0, T=tf.quint8, mode="SCALED", round_mode="HALF_TO_EVEN"
    )
    return tf.bitcast(quantized.output, tf.uint8)


def resize_label(label: tf.Tensor, size) -> tf.Tensor:
    """Resizes by the nearest pixel, exactly as Pillow: it adds up the float64 step, and that decides ties.

    Args:
      label: [height, width], any dtype.
      size: (height, width), integers or scalar int32 tensors.

    Returns:
      [*size], the same dtype.
    """

    def resized() -> tf.Tensor:
        pixels = label
        for new_length in tf.unstack(tf.cast(size, tf.int32)):
            length = tf.shape(pixels)[0]
            step = tf.cast(length, tf.float64) / tf.cast(new_length, tf.float64)
            places = tf.cumsum(tf.concat([[step * 0.5], tf.fill([new_length - 1], step)], axis=0))
            # Rows are copied whole, so columns become rows for a while: three times as fast.
            pixels = tf.transpose(tf.gather(pixels, tf.minimum(tf.cast(places, tf.int32), length - 1)))
        return pixels

    return tf.cond(_has_size(label, size), lambda: label, resized)


def _has_size(image: tf.Tensor, size) -> tf.Tensor:
    return tf.reduce_all(tf.shape(image)[:2] == tf.cast(size, tf.int32))


def random_size(base, scales: tuple[float, float], seed: tf.Tensor) -> tf.Tensor:
    """Returns (height, width) of `base` times a uniform factor from `scales`, rounded down, [2] int32."""
    scale = tf.random.stateless_uniform([], seed, *scales)
    return tf.cast(tf.cast(base, tf.float32) * scale, tf.int32)


def random_crop(
    image: tf.Tensor,
    label: tf.Tensor | None,
    size: tuple[int, int],
    seed: tf.Tensor,
    class_id: tf.Tensor | int = -1,
    class_pixels: float = 0.0,
):
    """Cuts out `size` (height, width) at random.

    A side that is too short is first padded by what is missing, at BOTH ends (image black, label 255), so that the
    picture's place in the crop is random. With `class_pixels`, the crop is the first of 10 random ones whose label has
    more pixels of `class_id` than that, or the last (DAFormer:
    https://github.com/lhoyer/DAFormer/blob/e6f6e04/mmseg/datasets/uda_dataset.py#L94-L105).
    """
    height, width = size
    shape = tf.shape(image)
    missing = tf.maximum([height, width] - shape[:2], 0)
    paddings = tf.stack([missing, missing], axis=1)
    space = shape[:2] + 2 * missing - [height, width]
    places = tf.random.stateless_uniform([2], seed)[None]
    if class_pixels:
        others = tf.random.stateless_uniform([_CROPS - 1, 2], tf.random.experimental.stateless_fold_in(seed, 1))
        places = tf.concat([places, others], axis=0)
    corners = tf.cast(places * tf.cast(space + 1, tf.float32), tf.int32)

    def cut(pixels: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
        top, left = tf.unstack(corners[number])
        return pixels[top : top + height, left : left + width]

    def shows_too_little(number: tf.Tensor) -> tf.Tensor:
        pixels = tf.math.count_nonzero(tf.cast(cut(label, number), tf.int64) == tf.cast(class_id, tf.int64))
        return (number < _CROPS - 1) & (tf.cast(pixels, tf.float32) <= class_pixels)

    number: tf.Tensor | int = 0
    if label is not None:
        label = tf.pad(label, paddings, constant_values=IGNORE)
        if class_pixels:
            (number,) = tf.while_loop(shows_too_little, lambda number: [number + 1], [tf.constant(0)])
        label = cut(label, number)
    return cut(tf.pad(image, tf.concat([paddings, [[0, 0]]], axis=0)), number), label


def random_flip(image: tf.Tensor, label: tf.Tensor | None, seed: tf.Tensor):
    """Mirrors image and label left and right, together, with probability 0.5."""
    mirrored = tf.random.stateless_uniform([], seed) < 0.5
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    if label is not None:
        label = tf.cond(mirrored, lambda: tf.reverse(label, [1]), lambda: label)
    return image, label
