"""On a GPU, everything has a kernel there: what has none is computed on the host, with a copy to it and back.

The plain forms, those for GPUs, are traced here, and TensorFlow's registry is asked for a kernel of every operation.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from fada_tf import forms, registry
from fada_tf.config import Config, method_settings
from fada_tf.evaluation.boundaries import near_boundary
from fada_tf.evaluation.calibration import calibration_counts
from fada_tf.evaluation.confusion import confusion_matrix
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.evaluation.views import Views
from fada_tf.models import attention
from fada_tf.models.depthwise import DepthwiseConvolution
from fada_tf.models.segmenter import build_segmenter
from fada_tf.windows import Windows

HEIGHT, WIDTH, BATCH, CLASSES = 48, 64, 4, 3
METHODS = (*registry.names("fada_tf.methods"), "masked_teacher")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
BACKBONES = ("tiny", "resnet50", "vgg16", "resnet101", "efficientnet_lite0")
HEADS = {"mix_tiny": "daformer", "mix_deeper": "segformer"}
# The two methods whose parts are those of nearly all, the precision that scales losses, the backbones of the papers.
QUICK = [
    ("fada", "tiny", "mixed_float16"),
    ("mic", "tiny", "float32"),
    *(("source_only", backbone, "float32") for backbone in ("resnet50", "vgg16")),
]
# Each backbone, and each method, in all precisions: pairs of them meet no operations beyond those.
ALL = dict.fromkeys(
    [
        *QUICK,
        *(("fada", backbone, precision) for backbone in BACKBONES for precision in PRECISIONS),
        *((method, "tiny", precision) for method in METHODS for precision in PRECISIONS),
        *(("source_only", backbone, precision) for backbone in HEADS for precision in PRECISIONS),
    ]
)


@functools.cache
def gpu_kernels(kind: str) -> list:
    """Returns what is registered for GPUs: under their own name, or for devices that have none of their own."""
    found = kernels.get_registered_kernels_for_op(kind).kernel
    return [kernel for kernel in found if kernel.device_type in ("GPU", "DEFAULT")]


needs_gpu_kernels = pytest.mark.skipif(
    not any(kernel.device_type == "GPU" for kernel in gpu_kernels("Conv2D")),
    reason="this TensorFlow holds no kernels for GPUs",
)
pytestmark = [pytest.mark.usefixtures("methods_of_the_tests", "networks_of_the_tests"), needs_gpu_kernels]


def operations_of(graph):
    """Yields the operations of a graph, and of the functions and bodies of loops that it calls."""
    yield from graph.get_operations()
    for name in graph._functions:
        function = graph._get_function(name)
        yield from operations_of(function.graph)


def types(attribute) -> list[int]:
    return list(attribute.list.type) or [attribute.type]


def kernel_of(operation):
    """Returns the kernel that takes the operation's types, those of GPUs before others; None where there is none."""
    attributes = operation.node_def.attr
    for device in ("GPU", "DEFAULT"):
        for kernel in gpu_kernels(operation.type):
            limits = {limit.name: set(limit.allowed_values.list.type) for limit in kernel.constraint}
            fits = all(set(types(attributes[name])) <= allowed for name, allowed in limits.items())
            if kernel.device_type == device and fits:
                return kernel
    return None


def named(arguments, tensors, attributes):
    """Yields each tensor with the name of its argument, of which a list has many."""
    tensors = iter(tensors)
    for argument in arguments:
        count = 1
        if argument.number_attr:
            count = attributes[argument.number_attr].i
        elif argument.type_list_attr:
            count = len(attributes[argument.type_list_attr].list.type)
        for _ in range(count):
            yield argument.name, next(tensors)


def on_the_host(operation, kernel, large: int) -> bool:
    """Returns whether the kernel keeps a tensor of `large` values or more in the memory of the host."""
    definition, attributes = operation.op_def, operation.node_def.attr
    pairs = [
        *named(definition.input_arg, operation.inputs, attributes),
        *named(definition.output_arg, operation.outputs, attributes),
    ]
    return any(name in kernel.host_memory_arg and (tensor.shape.num_elements() or 0) >= large for name, tensor in pairs)


def without_kernel(graph, large: int = HEIGHT * WIDTH) -> set[str]:
    """Returns the operations of a graph, as "type of types (name)", that a GPU leaves to the host.

    Strings, which the message of a check is made of, are always there.
    """
    found = set()
    for operation in operations_of(graph):
        if any(tensor.dtype == tf.string for tensor in operation.outputs):
            continue
        kernel = kernel_of(operation)
        if kernel is None or on_the_host(operation, kernel, large):
            kinds = sorted({tensor.dtype.name for tensor in operation.inputs})
            found.add(f"{operation.type} of {', '.join(kinds)} ({operation.name})")
    return found


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda images: tf.split(images, 2), "Split of int32, uint8"),
        (lambda images: tf.gather(images, [1], axis=1), "GatherV2 of int32, uint8"),
        (lambda images: tf.cast(images, tf.int32) != 255, "NotEqual of int32"),
        (lambda images: tf.map_fn(lambda image: tf.gather(image, [0]), images), "GatherV2 of int32, uint8"),
        (lambda images: images[:, ::2], None),
        (lambda images: tf.cast(images, tf.int64) != 255, None),
    ],
)
def test_what_a_gpu_leaves_to_the_host_is_named(function, named):
    images = tf.TensorSpec([BATCH, HEIGHT, WIDTH, 3], tf.uint8)
    found = without_kernel(tf.function(function).get_concrete_function(images).graph)
    assert any(line.startswith(named) for line in found) if named else not found


def step_graph(method: str, backbone: str, precision: str):
    config = Config()
    config.method, config.training.accumulation_steps = method_settings(method), 2
    batch_norm = "synchronized" if backbone in ("tiny", *HEADS) else "frozen"
    keras.config.set_dtype_policy(precision)
    try:
        segmenter = build_segmenter(backbone, CLASSES, batch_norm, head=HEADS.get(backbone, "aspp"))
        built = registry.load("fada_tf.methods", method).build(config, segmenter)
    finally:
        keras.config.set_dtype_policy("float32")
    images = tf.constant(np.zeros((BATCH, HEIGHT, WIDTH, 3), np.uint8))
    batch = {"image": images, "label": images[..., 0], "draw": tf.range(BATCH, dtype=tf.int64)}
    with forms.chosen("plain"):
        return tf.function(built.step).get_concrete_function(*[batch for _ in built.domains]).graph


@pytest.mark.parametrize(
    ("method", "backbone", "precision"),
    [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in ALL],
)
def test_a_step_stays_on_the_gpu(method, backbone, precision):
    assert not without_kernel(step_graph(method, backbone, precision))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 4)])
def test_depthwise_convolutions_stay_on_the_gpu(stride, dilation, precision):
    layer = DepthwiseConvolution(
        5, stride=stride, dilation=dilation, kernel_initializer="ones", bias_initializer="ones", dtype=precision
    )
    layer.build((None, None, None, 8))

    def gradients(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(tf.cast(layer(images), tf.float32))
        return tape.gradient(loss, [images, layer.kernel.value, layer.bias.value])

    with forms.chosen("plain"):
        images = tf.TensorSpec([BATCH, HEIGHT, WIDTH, 8], layer.compute_dtype)
        assert not without_kernel(tf.function(gradients, autograph=False).get_concrete_function(images).graph)


@pytest.mark.parametrize(
    ("views", "detailed"),
    [
        (Views((0.7, 1.0), flip=True), False),
        (Views(flip=True, windows=Windows((32, 32), (16, 20), "softmax")), True),
    ],
)
def test_scoring_stays_on_the_gpu(views, detailed):
    batch = {
        "image": tf.TensorSpec([BATCH, HEIGHT, WIDTH, 3], tf.uint8),
        "label": tf.TensorSpec([BATCH, HEIGHT, WIDTH], tf.uint8),
        "label_size": tf.TensorSpec([BATCH, 2], tf.int32),
    }
    dataset = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=batch)
    dataset = dataset.map(lambda batch: batch | {"record": tf.range(tf.shape(batch["image"], tf.int64)[0])})
    segmenter, strategy, names = build_segmenter("tiny", CLASSES), tf.distribute.get_strategy(), ("sky", "road", "car")
    conditions = {"weather": ("fog", "rain")}
    evaluator = Evaluator(segmenter, dataset, names, strategy, views=views, conditions=conditions, detailed=detailed)
    batch["groups"] = tf.TensorSpec([BATCH, 2], tf.int64)
    with forms.chosen("plain"):
        graphs = [evaluator._distributed_step.get_concrete_function(batch).graph]
    # In there, sizes of labels are unknown when the graph is traced; here they are not.
    pair = [tf.TensorSpec([HEIGHT, WIDTH], kind) for kind in (tf.uint8, tf.int32)]
    score = tf.function(lambda label, class_map: confusion_matrix(label, class_map, CLASSES))
    graphs.append(score.get_concrete_function(*pair).graph)
    confidence = tf.TensorSpec([HEIGHT, WIDTH], tf.float32)
    graphs.append(tf.function(calibration_counts).get_concrete_function(*pair, confidence).graph)
    graphs.append(tf.function(near_boundary).get_concrete_function(pair[0]).graph)
    assert not set().union(*map(without_kernel, graphs))


@pytest.mark.slow
@pytest.mark.usefixtures("networks_of_the_tests")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("scores", "recompute"), [(1 << 27, False), (64, True)])  # attention at once, and in blocks
def test_a_vision_transformer_stays_on_the_gpu(monkeypatch, precision, scores, recompute):
    monkeypatch.setattr(attention, "_SCORES", scores)
    keras.config.set_dtype_policy(precision)
    try:
        options = {"head": "vfm_uda", "trained_part": "lora", "lora_rank": 4, "recompute": recompute}
        segmenter = build_segmenter("vit_tiny_registers", CLASSES, **options)
        built = registry.load("fada_tf.methods", "source_only").build(Config(), segmenter)
    finally:
        keras.config.set_dtype_policy("float32")
    images = tf.constant(np.zeros((BATCH, 42, 56, 3), np.uint8))
    batch = {"image": images, "label": images[..., 0], "draw": tf.range(BATCH, dtype=tf.int64)}
    with forms.chosen("plain"):
        graph = tf.function(built.step).get_concrete_function(batch).graph
    assert not without_kernel(graph, large=42 * 56)
