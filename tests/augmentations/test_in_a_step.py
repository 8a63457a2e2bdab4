"""Every augmentation in a step: on a GPU as on a CPU, compiled by XLA or not, without AutoGraph, shapes known."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.augmentations import block_mask, blur, classmix, color, fourier
from tests.test_gpu_kernels import needs_gpu_kernels, without_kernel

N, SIZE, K = 2, (48, 64), 19
RANDOM = np.random.default_rng(0)
IMAGES, OTHERS = (RANDOM.uniform(0, 255, (N, *SIZE, 3)).astype(np.float32) for _ in range(2))
LABELS, PSEUDO_LABELS = (RANDOM.integers(0, K, (N, *SIZE)) for _ in range(2))
NUMBERS = RANDOM.random((N, K)).astype(np.float32)
MASK = RANDOM.random((N, *SIZE)) < 0.5


def on_levels(values):
    return values.astype(np.uint8)


OPERATIONS = {
    "choose_classes": (lambda labels, numbers: classmix.choose_classes(labels, K, numbers), on_levels(LABELS), NUMBERS),
    "mask_of": (classmix.mask_of, on_levels(LABELS), np.array([[3, 7, -1], [0, -1, -1]], np.int32)),
    "mask_of_pseudo_labels": (classmix.mask_of, LABELS.astype(np.int32), np.array([[3, -1], [0, 255]], np.int32)),
    # A function's result of int32 lies on the host, whatever made it.
    "paste_labels": (
        lambda *arguments: tf.cast(classmix.paste(*arguments), tf.int64),
        MASK,
        LABELS.astype(np.int32),
        PSEUDO_LABELS.astype(np.int32),
    ),
    "paste_bytes": (classmix.paste, MASK, on_levels(IMAGES), on_levels(OTHERS)),
    "paste_images": (classmix.paste, MASK, IMAGES, OTHERS),
    "enlarged": (lambda kept: block_mask.enlarged(kept, SIZE), RANDOM.random((N, 5, 3)).astype(np.float32)),
    "jitter": (color.jitter, IMAGES, np.tile([[0.1, 0.9, 0.1, 0.9, 0.1]], (N, 1)).astype(np.float32)),
    "gaussian_blur": (blur.gaussian_blur, IMAGES, np.array([0.0, 1.1], np.float32)),
    "swap_amplitudes": (lambda *images: fourier.swap_amplitudes(*images, 0.1), on_levels(IMAGES), on_levels(OTHERS)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_xla_gives_the_same(name):
    function, *arguments = OPERATIONS[name]
    plain, compiled = (
        tf.function(function, autograph=False, jit_compile=xla)(*map(tf.constant, arguments)).numpy()
        for xla in (False, True)
    )
    assert plain.dtype == compiled.dtype
    # Exact but for sums in another order; FFTs are the least exact of all, see test_fourier.py.
    atol = 255 * 1e-5 if name == "swap_amplitudes" else 255 * 2e-6 if name in ("jitter", "gaussian_blur") else 0
    np.testing.assert_allclose(compiled, plain, rtol=0, atol=atol)


@needs_gpu_kernels
@pytest.mark.parametrize("name", OPERATIONS)
def test_everything_has_a_kernel_on_gpus_and_a_static_shape(name):
    function, *arguments = OPERATIONS[name]
    specs = [tf.TensorSpec(argument.shape, argument.dtype) for argument in arguments]
    graph = tf.function(function, autograph=False).get_concrete_function(*specs)
    assert graph.structured_outputs.shape.is_fully_defined()
    assert not without_kernel(graph.graph, large=SIZE[0] * SIZE[1])
