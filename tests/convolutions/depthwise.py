"""Times depthwise convolutions, forward and both gradients together: python -m tests.convolutions.depthwise

The forms are the one for CPUs; the plain one, with TensorFlow's own gradients; the operation's own dilations, which are
right with oneDNN alone; and, where it is installed, PyTorch's with channels last. Each line has a shape (batch, height,
width, channels, kernel size, stride, dilation) and, by form, the lowest of several times in milliseconds. Nothing else
may run. The sizes are those of EfficientNet-Lite0 at output stride 8, of four pictures of 240x180 pixels and one of
1024x512.
"""

import importlib.util
from collections.abc import Callable

import tensorflow as tf

from fada_tf import forms
from fada_tf.convolutions import cpu
from fada_tf.models import depthwise
from tests.convolutions.thresholds import milliseconds, print_line

SHAPES = [
    (4, 90, 120, 32, 3, 1, 1), (4, 90, 120, 96, 3, 2, 1), (4, 45, 60, 144, 5, 2, 1), (4, 23, 30, 240, 3, 1, 1),
    (4, 23, 30, 672, 5, 1, 2), (4, 23, 30, 1152, 5, 1, 4), (4, 23, 30, 1152, 3, 1, 4),
    (1, 256, 512, 32, 3, 1, 1), (1, 64, 128, 672, 5, 1, 2), (1, 64, 128, 1152, 5, 1, 4),
]  # fmt: skip


def plain(inputs, kernel, stride: int, dilation: int) -> tf.Tensor:
    """Convolves as on GPUs."""
    with forms.chosen("plain"):
        return depthwise._convolve(inputs, kernel, stride, dilation, None, None)


def own_dilations(inputs, kernel, stride: int, dilation: int) -> tf.Tensor:
    """Convolves without grids."""
    size, _, _, channels = kernel.shape
    return tf.raw_ops.DepthwiseConv2dNative(
        input=inputs, filter=tf.reshape(kernel, [size, size, channels, 1]), strides=[1, stride, stride, 1],
        padding="SAME", dilations=[1, dilation, dilation, 1],
    )  # fmt: skip


FORMS = {"cpu": cpu.depthwise, "plain": plain, "own dilations": own_dilations}


def passes(convolve: Callable, shape: tuple[int, ...]) -> dict[str, Callable[[], tf.Tensor]]:
    """Returns the compiled forward pass and gradients."""
    batch, height, width, channels, size, stride, dilation = shape
    x, kernel = tf.random.normal([batch, height, width, channels]), tf.random.normal([size, size, 1, channels])
    upstream = tf.random.normal([batch, -(-height // stride), -(-width // stride), channels])

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = convolve(x, kernel, stride, dilation)
        by_inputs, by_kernel = tape.gradient(y, [x, kernel], upstream)
        return by_inputs[0, 0, 0, 0] + by_kernel[0, 0, 0, 0]

    found = {
        "forward": tf.function(lambda: convolve(x, kernel, stride, dilation)[0, 0, 0, 0], autograph=False),
        "gradients": tf.function(gradients, autograph=False),
    }
    for function in found.values():
        function()  # traces
    return found


def passes_of_torch(shape: tuple[int, ...]) -> dict[str, Callable]:
    """Returns the same of PyTorch, whose padding at stride 2 is symmetric."""
    import torch

    batch, height, width, channels, size, stride, dilation = shape
    x = torch.randn(batch, channels, height, width).to(memory_format=torch.channels_last)
    kernel, padding = torch.randn(channels, 1, size, size), [dilation * (size // 2)] * 2
    options = [stride] * 2, padding, [dilation] * 2
    with torch.no_grad():
        upstream = torch.randn_like(torch.nn.functional.conv2d(x, kernel, None, *options, channels))

    def gradients():
        arguments = (upstream, x, kernel, None, *options, False, [0, 0], channels, [True, True, False])
        return torch.ops.aten.convolution_backward(*arguments)[1]

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, kernel, None, *options, channels),
        "gradients": gradients,
    }


def main() -> None:
    """Prints the table."""
    for shape in SHAPES:
        by_form = {name: passes(form, shape) for name, form in FORMS.items()}
        if importlib.util.find_spec("torch"):
            by_form["PyTorch"] = passes_of_torch(shape)
        for name in ("forward", "gradients"):
            print_line(name, shape, milliseconds({form: functions[name] for form, functions in by_form.items()}))


if __name__ == "__main__":
    main()
