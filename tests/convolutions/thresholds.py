"""Times both sides of every threshold and choice of `fada_tf.convolutions`: python -m tests.convolutions.thresholds

Each line has the shape, and by value of the constant, or by form, the lowest of several times in milliseconds. Nothing
else may run.
"""

import sys
import time
from collections.abc import Callable, Iterator
from unittest import mock

import tensorflow as tf

from fada_tf.convolutions import cpu, places
from fada_tf.models.heads.aspp import DILATIONS

_NEVER = 1 << 60
_REPEATS = 15

Compiled = Callable[[], tf.Tensor]


def convolution(height: int, width: int, channels: int, filters: int, dilation: int) -> Compiled:
    """Returns a compiled 3x3 convolution of one image."""
    x, kernel = tf.random.normal([1, height, width, channels]), tf.random.normal([3, 3, channels, filters])
    return tf.function(lambda: cpu.convolve(x, kernel, dilation)[0, 0, 0, 0])


def kernel_gradient(height: int, width: int, channels: int, filters: int, dilation: int) -> Compiled:
    """Returns the compiled gradient by the kernel of such a convolution."""
    x, upstream = (tf.random.normal([1, height, width, count]) for count in (channels, filters))
    return tf.function(lambda: cpu._by_kernel(upstream, x, (3, 3, channels, filters), dilation)[0, 0, 0, 0])


def constants() -> Iterator[tuple]:
    """Yields module, constant, its values, what is timed, shapes (height, width, channels, filters, dilation)."""
    sides = (0, _NEVER)
    yield cpu, "_GRIDS_FROM", sides, convolution, [(h, 2 * h, 512, 512, 4) for h in (10, 20, 24, 32, 64)]
    yield cpu, "_HALVE_FROM", sides, convolution, [(64, 128, c, c, 1) for c in (64, 128, 192, 256, 512)]
    yield cpu, "_MULTIPLY_FROM", sides, kernel_gradient, [(64, 128, c, c, 1) for c in (64, 128, 256, 512)]
    yield cpu, "_GATHER_AT_MOST", sides, kernel_gradient, [(h, 2 * h, 256, 256, 2) for h in (32, 64, 96, 128)]
    tiles = ((8, 16), (16, 32), (32, 64), (64, 128))
    yield places, "_TILE", tiles, kernel_gradient, [(128, 256, c, c, 1) for c in (64, 128)]


def ways_round(pixels: int, channels: int, filters: int) -> dict[str, Compiled]:
    """Returns the gradient by a 1x1 kernel as `_by_taps` computes it, and as it would of other numbers of channels."""
    x, upstream = (tf.random.normal([pixels, count]) for count in (channels, filters))
    return {
        "rows of filters": tf.function(lambda: tf.transpose(tf.matmul(upstream, x, transpose_a=True))[0, 0]),
        "rows of channels": tf.function(lambda: tf.matmul(x, upstream, transpose_a=True)[0, 0]),
    }


def copies(height: int, width: int, filters: int, dilation: int) -> dict[str, Compiled]:
    """Returns what puts the pixels that nine taps see side by side."""
    upstream, offsets = tf.random.normal([1, height, width, filters]), places.tap_offsets(3, dilation)

    def shifted():
        padded = tf.pad(upstream, [[0, 0], [dilation] * 2, [dilation] * 2, [0, 0]])
        starts = [(dilation - row, dilation - column) for row, column in offsets]
        return tf.concat([padded[:, row : row + height, column : column + width] for row, column in starts], -1)

    return {
        "gather": tf.function(lambda: places.seen_by_taps(upstream, offsets)[0, 0]),
        "shifted copies": tf.function(lambda: shifted()[0, 0, 0, 0]),
    }


def heads(height: int, width: int, channels: int, filters: int) -> dict[str, Compiled]:
    """Returns a sum of dilated convolutions of one image, as one product and one by one."""
    x = tf.random.normal([1, height, width, channels])
    kernels = [tf.random.normal([3, 3, channels, filters]) for _ in DILATIONS]
    pairs = list(zip(kernels, DILATIONS, strict=True))
    return {
        "product": tf.function(lambda: cpu.sum_of_convolutions(x, kernels, DILATIONS)[0, 0, 0, 0]),
        "convolutions": tf.function(lambda: tf.add_n([cpu.convolve(x, k, d) for k, d in pairs])[0, 0, 0, 0]),
    }


def choices() -> Iterator[tuple]:
    """Yields the function that chose, what is timed, shapes."""
    yield cpu._by_taps, ways_round, [(8192, 2048, 512), (8192, 1024, 512), (8192, 512, 512), (8192, 512, 2048)]
    yield places.seen_by_taps, copies, [(64, 128, filters, 2) for filters in (64, 256, 512)]
    yield cpu.sum_of_convolutions, heads, [(64, 128, 2048, filters) for filters in (19, 64, 256)]


def milliseconds(functions: dict[object, Compiled]) -> dict[object, float]:
    """Returns the shortest time of each; they take turns, so that what disturbs one disturbs all."""
    times: dict[object, list[float]] = {side: [] for side in functions}
    for _ in range(_REPEATS):
        for side, function in functions.items():
            start = time.perf_counter()
            function().numpy()
            times[side].append(time.perf_counter() - start)
    return {side: 1e3 * min(seconds) for side, seconds in times.items()}


def print_line(name: str, shape: tuple, times: dict[object, float]) -> None:
    """Prints the times of one shape."""
    sides = (f"{'never' if side == _NEVER else side}: {value:.2f}" for side, value in times.items())
    sys.stdout.write(f"{name} {shape}: {', '.join(sides)}\n")
    sys.stdout.flush()


def with_constant(module: object, constant: str, value: object, made: Compiled) -> Compiled:
    """Returns what is timed, traced with that value of a constant."""
    with mock.patch.object(module, constant, value):
        places._tile_places.cache_clear()
        made()
    return made


def main() -> None:
    """Prints the table."""
    for module, constant, sides, timed, shapes in constants():
        for shape in shapes:
            functions = {side: with_constant(module, constant, side, timed(*shape)) for side in sides}
            print_line(constant, shape, milliseconds(functions))
    for chooser, timed, shapes in choices():
        for shape in shapes:
            functions = timed(*shape)
            for function in functions.values():
                function()  # traces
            print_line(chooser.__name__, shape, milliseconds(functions))


if __name__ == "__main__":
    main()
