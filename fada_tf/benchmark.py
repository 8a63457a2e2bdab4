"""What the benchmark programs measure: time, memory and operations, against the ceilings of the same machine."""

import collections
import math
import pathlib
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

_CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
_PRODUCTS = ("MatMul", "BatchMatMulV2", "BatchMatMulV3")
_LOOPS = ("While", "StatelessWhile")
_NOTHING_MOVED = (
    "Const", "Placeholder", "ReadVariableOp", "Identity", "IdentityN", "StopGradient", "Reshape", "ExpandDims",
    "Squeeze",
)  # fmt: skip
_UPDATE_BYTES = 5  # times those of the gradient: it is read, and the weights and momenta are read and written


def measure(compute: Callable[[], object], *, warmup: int, repeats: int) -> dict[str, float]:
    """Times `compute`.

    Args:
      compute: what is timed; returns tensors, whose values are waited for.
      warmup: calls after the first that do not count, at least 0.
      repeats: calls that count, at least 1.

    Returns:
      Seconds: "first" (tracing included), "median", "lowest" and "highest" of the repeats.
    """
    seconds = []
    for _ in range(1 + warmup + repeats):
        start = time.perf_counter()
        tf.nest.map_structure(lambda tensor: tensor.numpy(), compute())
        seconds.append(time.perf_counter() - start)
    counted = seconds[1 + warmup :]
    return {
        "first": seconds[0],
        "median": statistics.median(counted),
        "lowest": min(counted),
        "highest": max(counted),
    }


def summary(seconds: dict[str, float], parts: dict[str, dict[str, float]], precision: str) -> dict[str, object]:
    """Sets what was measured against what the machine can do, which is measured here.

    Args:
      seconds: of `measure`.
      parts: of `count_parts`.
      precision: see `matmul_ceiling`.

    Returns:
      Seconds, peak bytes, operations and bytes of all parts and of each and, in operations and bytes a second, the
      ceilings; "floor_seconds", the time that the operations would take at the matmul ceiling, and its share of the
      median; "memory_floor_seconds", the time of the bytes at the memory ceiling.
    """
    peak = peak_memory()  # before the ceilings need some
    operations, moved = (sum(part[what] for part in parts.values()) for what in ("operations", "bytes"))
    ceiling, memory = matmul_ceiling(precision), memory_ceiling()
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "operations": operations,
        "bytes": moved,
        "parts": parts,
        "operations_per_second": operations / seconds["median"],
        "matmul_ceiling": ceiling,
        "memory_ceiling": memory,
        "floor_seconds": operations / ceiling,
        "share_of_ceiling": operations / ceiling / seconds["median"],
        "memory_floor_seconds": moved / memory,
    }


def seconds_by(
    compute: Callable[[], object], keys: Mapping[str, Callable[[str, str], str]]
) -> dict[str, dict[str, float]]:
    """Computes once under TensorFlow's profiler.

    Args:
      compute: see `measure`; already traced.
      keys: by name, what operations are added up by: called with an operation's name and type.

    Returns:
      For each of `keys`: key -> seconds in all of its operations, the longest first; those that run side by side
      count twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            tf.nest.map_structure(lambda tensor: tensor.numpy(), compute())
        (path,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    seconds = {name: collections.Counter() for name in keys}
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name, *types = plane.event_metadata[event.metadata_id].name.split(":")  # operations are "name:type"
            if name and len(types) == 1 and not types[0].lstrip().startswith("__"):  # the function as a whole
                for by, key in keys.items():
                    seconds[by][key(name, types[0])] += event.duration_ps / 1e12
    return {by: dict(counter.most_common()) for by, counter in seconds.items()}


def part_of(name: str, operation_type: str, parts: Mapping[str, str]) -> str:
    """Returns the part of a step that an operation belongs to, "other" where none is known.

    Args:
      name: of the operation, with its scopes.
      operation_type: its type, with oneDNN's prefix or without; all sums of Einstein's are upsampling.
      parts: scope, without the number that tells it from its namesakes -> part.
    """
    if operation_type.endswith("Einsum"):
        return "upsampling"
    scopes = (re.sub(r"(_\d+)+$", "", scope) for scope in name.split("/"))
    return next((parts[scope] for scope in scopes if scope in parts), "other")


def peak_memory() -> int:
    """Returns the most bytes this process has held at once: of the first GPU where there is one, else of RAM."""
    if tf.config.list_logical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    # macOS gives bytes, Linux kibibytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def count_parts(
    function: tf.types.experimental.ConcreteFunction, parts: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Counts what the parts of a graph compute and move.

    Args:
      function: traced with static shapes, its loops with `maximum_iterations`, which they always reach; operations
        of unknown shape raise ValueError.
      parts: see `part_of`.

    Returns:
      Part -> "operations", the floating-point ones of its convolutions and matrix products (a multiplication and an
      addition are two), and "bytes", what its operations read and write if nothing stays in a cache. Most operations
      first.
    """
    counts = collections.defaultdict(lambda: {"operations": 0.0, "bytes": 0.0})
    for operation, times in _executed(function.graph.outputs):
        part = counts[part_of(operation.name, operation.type, parts)]
        part["operations"] += times * _operations(operation)
        part["bytes"] += times * _bytes(operation)
    return dict(sorted(counts.items(), key=lambda item: -item[1]["operations"]))


def _executed(outputs, times: int = 1) -> Iterator[tuple[tf.Operation, int]]:
    """Yields the operations that the outputs depend on, and how often each runs."""
    for operation in _needed(outputs):
        if operation.type in _LOOPS:
            limit = int(tf.get_static_value(operation.inputs[1]))
            if limit < 0:
                raise ValueError(f"the loop {operation.name} has no maximum_iterations")
            body = operation.graph._get_function(operation.get_attr("body").name).graph
            yield from _executed(body.outputs, times * limit)
        else:
            yield operation, times


def _needed(outputs) -> set[tf.Operation]:
    """Returns the operations that the outputs depend on; a tape leaves others, which TensorFlow never runs."""
    operations, waiting = set(), [tensor.op for tensor in outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in operations:
            operations.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return operations


def _operations(operation) -> float:
    if operation.type in _CONVOLUTIONS:
        return _convolution_operations(operation)
    if operation.type in _PRODUCTS:
        return _product_operations(operation)
    if operation.type == "Einsum":
        return _einsum_operations(operation)
    if operation.type.startswith("DepthwiseConv2dNative"):
        return _depthwise_operations(operation)
    return 0.0


def _bytes(operation) -> float:
    if operation.type in _NOTHING_MOVED:
        return 0.0
    values = [
        tensor
        for tensor in (*operation.inputs, *operation.outputs)
        if tensor.dtype.size and tensor.shape.rank and not _names_axes(tensor)
    ]
    moved = sum(_size(tensor.shape) * tensor.dtype.size for tensor in values if tensor.dtype != tf.resource)
    return float(moved * (_UPDATE_BYTES if operation.type.startswith("ResourceApply") else 1))


def _names_axes(tensor: tf.Tensor) -> bool:
    """Tells the few integers that gradients of broadcasts sum over: how many they are shows when they run."""
    return tensor.dtype.is_integer and tensor.shape.rank == 1 and not tensor.shape.is_fully_defined()


def _depthwise_operations(operation) -> float:
    by_kernel = operation.type.endswith("BackpropFilter")
    kernel = operation.outputs[0].shape if by_kernel else operation.inputs[1].shape
    convolved = operation.inputs[2] if "Backprop" in operation.type else operation.outputs[0]
    return 2.0 * kernel[0] * kernel[1] * _size(convolved.shape)


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


def _einsum_operations(operation) -> float:
    letters = operation.get_attr("equation").decode().split("->")[0].split(",")
    sizes = {}
    for dimensions, tensor in zip(letters, operation.inputs, strict=True):
        sizes |= dict(zip(dimensions, tensor.shape, strict=True))
    return 2.0 * math.prod(sizes.values())


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


def _fastest(compute: Callable[[], tf.Tensor], seconds: float) -> float:
    compute().numpy()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        compute().numpy()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest
