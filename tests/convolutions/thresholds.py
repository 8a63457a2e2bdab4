"""Times both sides of every threshold of `fada_tf.convolutions`: python -m tests.convolutions.thresholds

Each line has the shape, and by value of the constant the lowest of several times in milliseconds. Nothing else may run.
"""

import sys
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

from fada_tf.convolutions import cpu, places

_NEVER = 1 << 60
_REPEATS = 15


def convolution(height: int, width: int, channels: int, filters: int, dilation: int) -> Callable[[], tf.Tensor]:
    """Returns a compiled 3x3 convolution of one image."""
    x, kernel = tf.random.normal([1, height, width, channels]), tf.random.normal([3, 3, channels, filters])
    return tf.function(lambda: cpu.convolve(x, kernel, dilation)[0, 0, 0, 0])


def kernel_gradient(height: int, width: int, channels: int, filters: int, dilation: int) -> Callable[[], tf.Tensor]:
    """Returns the compiled gradient by the kernel of such a convolution."""
    x, upstream = (tf.random.normal([1, height, width, count]) for count in (channels, filters))
    return tf.function(lambda: cpu._by_kernel(upstream, x, (3, 3, channels, filters), dilation)[0, 0, 0, 0])


def cases() -> Iterator[tuple]:
    """Yields module, constant, its values, what is timed, shapes (height, width, channels, filters, dilation)."""
    sides = (0, _NEVER)
    yield cpu, "_GRIDS_FROM", sides, convolution, [(h, 2 * h, 512, 512, 4) for h in (10, 20, 24, 32, 64)]
    yield cpu, "_HALVE_FROM", sides, convolution, [(64, 128, c, c, 1) for c in (64, 128, 192, 256, 512)]
    yield cpu, "_MULTIPLY_FROM", sides, kernel_gradient, [(64, 128, c, c, 1) for c in (64, 128, 256, 512)]
    yield cpu, "_GATHER_AT_MOST", sides, kernel_gradient, [(h, 2 * h, 256, 256, 2) for h in (32, 64, 96, 128)]
    tiles = ((8, 16), (16, 32), (32, 64), (64, 128))
    yield places, "_TILE", tiles, kernel_gradient, [(128, 256, c, c, 1) for c in (64, 128)]


def milliseconds(run: Callable[[], tf.Tensor]) -> float:
    """Returns the shortest of several runs, after the one that traces."""
    run().numpy()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run().numpy()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main() -> None:
    """Prints the table."""
    for module, constant, values, timed, shapes in cases():
        before = getattr(module, constant)
        for shape in shapes:
            found = []
            for value in values:
                setattr(module, constant, value)
                places._tile_places.cache_clear()
                found.append(f"{value if value != _NEVER else 'never'}: {milliseconds(timed(*shape)):.2f}")
            sys.stdout.write(f"{constant} {shape}: {', '.join(found)}\n")
            sys.stdout.flush()
        setattr(module, constant, before)


if __name__ == "__main__":
    main()
