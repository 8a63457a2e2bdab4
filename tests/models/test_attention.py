"""Attention in blocks of queries is attention."""

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.models import attention

RNG = np.random.default_rng(0)
QUERIES, KEYS, VALUES = (tf.constant(RNG.standard_normal((2, 3, count, 5)), tf.float32) for count in (11, 7, 7))


def attended(*tensors):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = attention.attend(*tensors)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * tf.reshape(tf.range(330.0) % 7, [2, 3, 11, 5]))
    return outputs, *tape.gradient(loss, tensors)


def test_attention_is_the_mean_of_values_by_the_softmax_of_products():
    logits = np.einsum("bhqc,bhkc->bhqk", QUERIES, KEYS) / np.sqrt(5)
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.einsum("bhqk,bhkc->bhqc", weights, VALUES)
    np.testing.assert_allclose(attention.attend(QUERIES, KEYS, VALUES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scores", [4 * 2 * 3 * 7, 1])  # three blocks of 4, 4 and 3 queries; single ones
def test_blocks_change_neither_values_nor_gradients(monkeypatch, scores, xla):
    expected = attended(QUERIES, KEYS, VALUES)
    monkeypatch.setattr(attention, "_SCORES", scores)
    function = tf.function(attended, jit_compile=xla, autograph=False)
    concrete = function.get_concrete_function(QUERIES, KEYS, VALUES)
    for one, other in zip(expected, concrete(QUERIES, KEYS, VALUES), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)


def test_sizes_may_be_unknown_when_traced(monkeypatch):
    expected = attended(QUERIES, KEYS, VALUES)
    monkeypatch.setattr(attention, "_SCORES", 4 * 2 * 3 * 7)
    unknown = tf.TensorSpec([None, 3, None, 5])
    for one, other in zip(expected, tf.function(attended, [unknown] * 3)(QUERIES, KEYS, VALUES), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)


def test_gradients_are_summed_in_float32(bfloat16, monkeypatch):
    expected = attended(QUERIES, KEYS, VALUES)
    monkeypatch.setattr(attention, "_SCORES", 1)
    found = attended(*(tf.cast(each, tf.bfloat16) for each in (QUERIES, KEYS, VALUES)))
    for one, other in zip(expected, found, strict=True):
        assert other.dtype == tf.bfloat16
        np.testing.assert_allclose(tf.cast(other, tf.float32), one, atol=0.03 * np.abs(one).max())
