"""What the benchmark programs count and time, on graphs whose operations are known."""

import tensorflow as tf

from fada_tf import benchmark


@tf.function
def step(images, kernel, matrix):
    tf.matmul(matrix, matrix)  # which no output needs
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        features = tf.nn.conv2d(images, kernel, 2, "SAME")
        loss = tf.reduce_sum(tf.matmul(tf.reshape(features, [-1, 5]), matrix, transpose_b=True))
    return loss, tape.gradient(loss, kernel)


INPUTS = tf.ones([2, 8, 12, 3]), tf.ones([3, 3, 3, 5]), tf.ones([5, 5])


def test_operations_are_counted_where_an_output_needs_them():
    convolution = 2 * (2 * 4 * 6) * (3 * 3 * 3) * 5
    product = 2 * (2 * 4 * 6) * 5 * 5
    counts = benchmark.count_operations(step.get_concrete_function(*INPUTS))
    assert counts == {"Conv2D": convolution, "Conv2DBackpropFilter": convolution, "MatMul": 2 * product}


def test_times_are_of_the_graphs_operations():
    seconds = benchmark.measure(lambda: step(*INPUTS), warmup=0, repeats=3)
    assert 0 < seconds["lowest"] <= seconds["median"] <= seconds["highest"]
    by_type = benchmark.seconds_by_type(lambda: step(*INPUTS))
    assert {"MatMul", "Conv2DBackpropFilter"} <= by_type.keys()
    assert all(value >= 0 for value in by_type.values())
    assert list(by_type.values()) == sorted(by_type.values(), reverse=True)
