"""Colour jitter of the input pipeline, in Pillow's 8-bit arithmetic; each adjustment is compiled to one pass.

Pixels are [any number, 3] uint8, red, green, blue; an adjustment rounds to whole grey levels, as those of Pillow do on
which torchvision's ColorJitter and so the FADA reference implementation build.
"""

import tensorflow as tf

# https://github.com/JDAI-CV/FADA/blob/a1c6403/configs/deeplabv2_r101_adv.yaml#L10-L13
BRIGHTNESS = CONTRAST = SATURATION = 0.5  # factors are drawn from 1 - value to 1 + value
HUE = 0.2  # turns of the colour circle, either way
ROW = 1 << 12  # pixels that are summed at a time
BLOCK = 64 * ROW  # images are filled up to whole blocks, so that few lengths are compiled


def color_jitter(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue by random amounts, in random order.

    Args:
      image: [height, width, 3] uint8.
      seed: [2] int32; the same seed gives the same result.

    Returns:
      The image, of the same shape, uint8.
    """
    order_seed, amount_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    order = tf.argsort(tf.random.stateless_uniform([4], order_seed))
    amounts = tf.random.stateless_uniform([4], amount_seed, -1.0, 1.0)
    count = tf.size(image) // 3
    adjustments = (
        lambda pixels: adjust_brightness(pixels, 1.0 + BRIGHTNESS * amounts[0]),
        lambda pixels: adjust_contrast(pixels, 1.0 + CONTRAST * amounts[1], count),
        lambda pixels: adjust_saturation(pixels, 1.0 + SATURATION * amounts[2]),
        lambda pixels: adjust_hue(pixels, HUE * amounts[3]),
    )
    pixels = tf.pad(tf.reshape(image, [-1, 3]), [[0, -count % BLOCK], [0, 0]])
    for position in range(4):
        branches = [lambda adjust=adjust, pixels=pixels: adjust(pixels) for adjust in adjustments]
        pixels = tf.switch_case(order[position], branches)
    # Cut as one row of bytes: no pixel is moved.
    return tf.reshape(tf.slice(tf.reshape(pixels, [-1]), [0], [tf.size(image)]), tf.shape(image))


@tf.function(jit_compile=True, autograph=False)
def adjust_brightness(pixels: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies by `factor`; 0 is black, 1 leaves the pixels as they are."""
    return _blend(0.0, tf.cast(pixels, tf.float32), factor)


@tf.function(jit_compile=True, autograph=False)
def adjust_contrast(pixels: tf.Tensor, factor: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Moves away from (factor above 1) or towards the mean grey of the first `count` pixels; the rest must be black.

    The number of pixels is a multiple of `ROW`.
    """
    # Sums of integers are exact, so the same in whatever order they are added up; rows fit int32, all of them do not.
    rows = tf.reduce_sum(tf.reshape(_grey(pixels), [-1, ROW]), 1)
    total = tf.reduce_sum(tf.cast(rows, tf.float64))
    mean = tf.floor(total / tf.cast(count, tf.float64) + 0.5)
    return _blend(tf.cast(mean, tf.float32), tf.cast(pixels, tf.float32), factor)


@tf.function(jit_compile=True, autograph=False)
def adjust_saturation(pixels: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Moves each pixel away from (factor above 1) or towards its own grey."""
    return _blend(tf.cast(_grey(pixels), tf.float32)[:, None], tf.cast(pixels, tf.float32), factor)


@tf.function(jit_compile=True, autograph=False)
def adjust_hue(pixels: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Turns hues by `turns` of the colour circle; exact hues, where Pillow's have 256 steps."""
    return tf.cast(turn_hue(tf.cast(pixels, tf.float32), turns) + 0.5, tf.uint8)


def turn_hue(colors: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Turns hues on the colour circle; the largest and the smallest of the three values stay what they are.

    Args:
      colors: float32 [..., 3], red, green, blue, at least 0.
      turns: of the circle, broadcast to [...].

    Returns:
      float32 [..., 3].
    """
    red, green, blue = tf.unstack(colors, axis=-1)
    value = tf.maximum(red, tf.maximum(green, blue))
    chroma = value - tf.minimum(red, tf.minimum(green, blue))
    scale = tf.where(chroma > 0, 1.0 / chroma, 0.0)
    sector = tf.where(
        value == red,
        (green - blue) * scale,
        tf.where(value == green, (blue - red) * scale + 2.0, (red - green) * scale + 4.0),
    )
    sector += 6.0 * turns
    sector -= 6.0 * tf.floor(sector / 6.0)  # tf.math.floormod takes ten times as long
    shares = (tf.abs(sector - 3.0) - 1.0, 2.0 - tf.abs(sector - 2.0), 2.0 - tf.abs(sector - 4.0))
    turned = [value - chroma * (1.0 - tf.clip_by_value(share, 0.0, 1.0)) for share in shares]
    return tf.stack(turned, axis=-1)


def _blend(start: tf.Tensor, end: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Goes from `start` by `factor` of the way to `end`; decimals are cut off, as Pillow does."""
    return tf.cast(tf.clip_by_value(start + factor * (end - start), 0.0, 255.0), tf.uint8)


def _grey(pixels: tf.Tensor) -> tf.Tensor:
    """Returns Pillow's integer ITU-R 601 luma, [pixels] int32."""
    red, green, blue = tf.unstack(tf.cast(pixels, tf.int32), axis=1)
    return tf.bitwise.right_shift(19595 * red + 38470 * green + 7471 * blue + (1 << 15), 16)
