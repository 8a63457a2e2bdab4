"""What the benchmark programs measure: time, memory and operations, against the ceilings of the same machine."""

import collections
import pathlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

_CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
_PRODUCTS = ("MatMul", "BatchMatMulV2", "BatchMatMulV3")


def measure(run: Callable[[], object], *, warmup: int, repeats: int) -> dict[str, float]:
    """Times `run`.

    Args:
        run: what is timed; returns tensors, whose values are waited for.
        warmup: calls after the first that do not count, at least 0.
        repeats: calls that count, at least 1.

    Returns:
        Seconds: "first" (tracing included), "median", "lowest" and "highest" of the repeats.
    """
    seconds = []
    for _ in range(1 + warmup + repeats):
        start = time.perf_counter()
        tf.nest.map_structure(lambda tensor: tensor.numpy(), run())
        seconds.append(time.perf_counter() - start)
    counted = seconds[1 + warmup :]
    return {
        "first": seconds[0],
        "median": statistics.median(counted),
        "lowest": min(counted),
        "highest": max(counted),
    }


def summary(seconds: dict[str, float], operations: dict[str, float], precision: str) -> dict[str, object]:
    """Sets what was measured against what the machine can do, which is measured here.

    Args:
        seconds: of `measure`.
        operations: of `count_operations`.
        precision: see `matmul_ceiling`.

    Returns:
        Seconds, peak bytes, operations and, in operations and bytes a second, the ceilings; "floor_seconds", the time
        that the operations would take at the matmul ceiling, and its share of the median.
    """
    memory = peak_memory()  # before the ceilings need some
    total, ceiling = sum(operations.values()), matmul_ceiling(precision)
    return {
        "seconds": seconds,
        "peak_bytes": memory,
        "operations": total,
        "operations_by_type": operations,
        "operations_per_second": total / seconds["median"],
        "matmul_ceiling": ceiling,
        "memory_ceiling": memory_ceiling(),
        "floor_seconds": total / ceiling,
        "share_of_ceiling": total / ceiling / seconds["median"],
    }


def seconds_by_type(run: Callable[[], object]) -> dict[str, float]:
    """Runs once under TensorFlow's profiler.

    Args:
        run: see `measure`; already traced.

    Returns:
        Operation type -> seconds in all of its operations, the longest first; those that run side by side count twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            tf.nest.map_structure(lambda tensor: tensor.numpy(), run())
        (path,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    seconds = collections.Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name, *kind = plane.event_metadata[event.metadata_id].name.split(":")  # operations are "name:type"
            if name and len(kind) == 1 and not kind[0].lstrip().startswith("__"):  # the function as a whole
                seconds[kind[0]] += event.duration_ps / 1e12
    return dict(seconds.most_common())


def peak_memory() -> int:
    """Returns the most bytes this process has held at once: of the first GPU where there is one, else of RAM."""
    if tf.config.list_logical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def count_operations(function: tf.types.experimental.ConcreteFunction) -> dict[str, float]:
    """Counts the floating-point operations of the convolutions and matrix products of a graph.

    Args:
        function: traced with static shapes; operations of unknown shape raise ValueError.

    Returns:
        Operation type -> operations; a multiplication and an addition are two.
    """
    counts: dict[str, float] = {}
    for operation in _needed(function.graph.outputs):
        if operation.type in _CONVOLUTIONS:
            counts[operation.type] = counts.get(operation.type, 0.0) + _convolution_operations(operation)
        elif operation.type in _PRODUCTS:
            counts[operation.type] = counts.get(operation.type, 0.0) + _product_operations(operation)
    return counts


def _needed(outputs) -> set[tf.Operation]:
    """Returns the operations that the outputs depend on; a tape leaves others, which TensorFlow never runs."""
    found, waiting = set(), [tensor.op for tensor in outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return found


def _convolution_operations(operation) -> float:
    """Returns 2 * multiplications: those of the forward convolution, whichever of its gradients this is."""
    shapes = [tensor.shape for tensor in (*operation.inputs, *operation.outputs)]
    if operation.type == "Conv2D":
        kernel, output = shapes[1], shapes[-1]
    elif operation.type == "Conv2DBackpropInput":
        kernel, output = shapes[1], shapes[2]
    else:
        kernel, output = shapes[-1], shapes[2]
    return 2.0 * _size(kernel) * _size(output) / kernel[-1]


def _product_operations(operation) -> float:
    left, output = operation.inputs[0].shape, operation.outputs[0].shape
    transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    return 2.0 * _size(output) * left[-2 if transposed else -1]


def _size(shape: tf.TensorShape) -> int:
    if not shape.is_fully_defined():
        raise ValueError(f"a shape is unknown: {shape}; trace with static shapes")
    return shape.num_elements()


def matmul_ceiling(precision: str, *, size: int = 2048, seconds: float = 2.0) -> float:
    """Returns the operations a second that a product of two large square matrices reaches.

    Args:
        precision: a Keras policy: "float32", "mixed_bfloat16" or "mixed_float16".
        size: rows and columns.
        seconds: length of the measurement.
    """
    dtype = precision.removeprefix("mixed_")
    left, right = (tf.cast(tf.random.stateless_normal([size, size], [0, i]), dtype) for i in (1, 2))
    product = tf.function(lambda: tf.reduce_sum(tf.cast(tf.matmul(left, right)[:1], tf.float32)))
    return 2.0 * size**3 / _fastest(product, seconds)


def memory_ceiling(*, megabytes: int = 256, seconds: float = 1.0) -> float:
    """Returns the bytes a second that adding a large tensor to another moves: two are read, one is written.

    Args:
        megabytes: size of each.
        seconds: length of the measurement.
    """
    total, increment = tf.Variable(tf.zeros([megabytes * 2**18])), tf.ones([megabytes * 2**18])
    add = tf.function(lambda: total.assign_add(increment)[0])
    return 3.0 * megabytes * 2**20 / _fastest(add, seconds)


def _fastest(run: Callable[[], tf.Tensor], seconds: float) -> float:
    run().numpy()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run().numpy()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest
