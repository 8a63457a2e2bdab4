"""What GPUs do to the products of float32 matrices: their operands keep ten bits after the leading one."""

import tensorflow as tf


def rounded(values: tf.Tensor) -> tf.Tensor:
    """Returns float32 values rounded to TF32, others as they are."""
    values = tf.convert_to_tensor(values)
    if values.dtype != tf.float32:
        return values
    bits = tf.bitcast(values, tf.uint32) + 2**12
    return tf.bitcast(tf.bitwise.bitwise_and(bits, tf.constant(2**32 - 2**13, tf.uint32)), tf.float32)


def round_products(monkeypatch) -> None:
    """Rounds the operands of products and Einstein's sums until the end of the test."""
    matmul, einsum = tf.matmul, tf.einsum
    monkeypatch.setattr(tf, "matmul", lambda one, other, **options: matmul(rounded(one), rounded(other), **options))
    monkeypatch.setattr(tf, "einsum", lambda equation, *values: einsum(equation, *map(rounded, values)))
