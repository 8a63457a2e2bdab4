"""What the benchmark programs count and time, on graphs whose operations are known."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from fada_tf import benchmark, forms
from fada_tf.config import Config, method_settings
from fada_tf.losses import row_blocks
from fada_tf.training import made_up

PARTS = {"backbone": "feature extractor", "head": "classifier", "while": "losses"}
FEATURES = 2 * 4 * 6  # pixels


@tf.function
def step(images, kernel, matrix):
    tf.matmul(matrix, matrix)  # which no output needs
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        with tf.name_scope("backbone"):
            features = tf.nn.conv2d(images, kernel, 2, "SAME")
        with tf.name_scope("head"):
            loss = tf.reduce_sum(tf.matmul(tf.reshape(features, [-1, 5]), matrix, transpose_b=True))
    return loss, tape.gradient(loss, kernel)


INPUTS = tf.ones([2, 8, 12, 3]), tf.ones([3, 3, 3, 5]), tf.ones([5, 5])


def test_operations_are_counted_by_part_where_an_output_needs_them():
    convolution = 2 * FEATURES * (3 * 3 * 3) * 5
    product = 2 * FEATURES * 5 * 5
    counts = benchmark.count_parts(step.get_concrete_function(*INPUTS), PARTS)
    operations = {part: count["operations"] for part, count in counts.items() if count["operations"]}
    assert operations == {"feature extractor": 2 * convolution, "classifier": 2 * product}


def test_a_depthwise_convolution_costs_its_taps_at_every_output():
    @tf.function
    def step(features, kernel):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch((features, kernel))
            outputs = tf.nn.depthwise_conv2d(features, kernel, [1, 2, 2, 1], "SAME")
        return outputs, tape.gradient(outputs, features), tape.gradient(outputs, kernel)

    counts = benchmark.count_parts(step.get_concrete_function(tf.ones([2, 8, 12, 3]), tf.ones([5, 5, 3, 1])), PARTS)
    assert counts["other"]["operations"] == 3 * 2 * (5 * 5) * (2 * 4 * 6 * 3)


def test_axes_that_show_when_a_step_runs_are_no_bytes():
    @tf.function
    def step(upstream):
        axes, _ = tf.raw_ops.BroadcastGradientArgs(s0=tf.constant([1, 3]), s1=tf.constant([4, 3]))
        return tf.reshape(tf.reduce_sum(upstream, axes), [3])

    counts = benchmark.count_parts(step.get_concrete_function(tf.ones([4, 3])), PARTS)
    assert 12 * 4 <= counts["other"]["bytes"] < 2 * 12 * 4


def test_bytes_are_those_read_and_written():
    @tf.function
    def add(values):
        return tf.reshape(values + values, [-1])

    counts = benchmark.count_parts(add.get_concrete_function(tf.ones([10, 20])), PARTS)
    assert counts == {"other": {"operations": 0.0, "bytes": 3 * 200 * 4}}


def test_an_update_reads_and_writes_the_weights_and_the_momenta():
    weights, momenta = tf.Variable(tf.zeros([100])), tf.Variable(tf.zeros([100]))

    @tf.function
    def update(gradient):
        tf.raw_ops.ResourceApplyMomentum(
            var=weights.handle, accum=momenta.handle, lr=0.1, grad=gradient, momentum=0.9, use_nesterov=False
        )
        return gradient[0]

    counts = benchmark.count_parts(update.get_concrete_function(tf.ones([100])), PARTS)
    assert 5 * 400 <= counts["other"]["bytes"] < 6.2 * 400


def test_a_loop_counts_as_often_as_it_runs():
    @tf.function
    def upsample(maps, weights, limit=None):
        def body(row, total):
            return row + 1, total + tf.reduce_sum(tf.einsum("nh,bhwc->bnwc", weights, maps))

        return tf.while_loop(lambda row, _: row < 4, body, (0, 0.0), maximum_iterations=limit)[1]

    maps, weights = tf.ones([2, 3, 5, 7]), tf.ones([6, 3])
    counts = benchmark.count_parts(upsample.get_concrete_function(maps, weights, 4), PARTS)
    assert counts["upsampling"]["operations"] == 4 * 2 * (6 * 3) * (2 * 5 * 7)
    assert counts["losses"]["bytes"] >= 4 * 4 * (2 * 6 * 5 * 7)
    with pytest.raises(ValueError, match="no maximum_iterations"):
        benchmark.count_parts(upsample.get_concrete_function(maps, weights), PARTS)


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("gradient_tape/backbone_3/conv_1/MatMul", "MatMul", "feature extractor"),
        ("while/body/_12/while/Softmax", "Softmax", "losses"),
        ("while/body/_12/while/einsum_1/Einsum", "Einsum", "upsampling"),
        ("while/body/_12/while/einsum_1/Einsum", "_MklEinsum", "upsampling"),
        ("add_2", "AddV2", "other"),
    ],
)
def test_the_part_is_named_by_a_scope(name, kind, part):
    assert benchmark.part_of(name, kind, PARTS) == part


def test_times_are_of_the_graphs_operations():
    seconds = benchmark.measure(lambda: step(*INPUTS), warmup=0, repeats=3)
    assert 0 < seconds["lowest"] <= seconds["median"] <= seconds["highest"]
    keys = {"type": lambda name, kind: kind, "part": lambda name, kind: benchmark.part_of(name, kind, PARTS)}
    times = benchmark.seconds_by(lambda: step(*INPUTS), keys)
    # Where oneDNN runs an operation, its type has a prefix.
    types = {kind.removeprefix("_Mkl").removeprefix("Native") for kind in times["type"]}
    assert {"MatMul", "Conv2DBackpropFilter"} <= types
    assert {"feature extractor", "classifier"} <= times["part"].keys()
    assert all(value >= 0 for value in times["type"].values())
    assert list(times["type"].values()) == sorted(times["type"].values(), reverse=True)
    assert sum(times["type"].values()) == pytest.approx(sum(times["part"].values()))


def test_a_step_in_the_form_for_gpus_is_counted(monkeypatch):
    monkeypatch.setattr(row_blocks, "_PLAIN_BLOCK_VALUES", 96 * 10 * 8)  # several blocks, in a loop
    config = Config()
    config.model.backbone, config.method = "tiny", method_settings("fada")
    for domain in (config.data.source, config.data.target):
        domain.records, domain.height, domain.width = "made up", 64, 96
    with forms.chosen("plain"):
        method = made_up.build_method(config, 5)
        step = made_up.step_function(method, made_up.batches(config, 5, 1), tf.distribute.get_strategy())
        counts = benchmark.count_parts(step.get_concrete_function(), {"classifier": "classifier"})
    forward = 2 * 4 * 9 * method.segmenter.feature_channels * 5 * (8 * 12)
    assert counts["classifier"]["operations"] == 4 * forward  # two domains, and both gradients of the source


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 32), (512, 1024)])
def test_inference_is_measured(size):
    options = ["--backbone=tiny", f"--height={size[0]}", f"--width={size[1]}", "--calls=1", "--warmup=0"]
    run = subprocess.run(
        [sys.executable, "-m", "fada_tf", "benchmark_inference", *options], capture_output=True, text=True, check=True
    )
    measured = json.loads(run.stdout)
    assert measured["parts"]["feature extractor"]["operations"] > 0
    assert measured["parts"]["classifier"]["operations"] > 0
