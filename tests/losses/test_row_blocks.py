import numpy as np
import pytest
import tensorflow as tf

from fada_tf import forms
from fada_tf.losses import row_blocks
from fada_tf.losses.adversarial import SOURCE, TARGET, fine_grained_cross_entropy, soft_class_knowledge
from fada_tf.losses.segmentation import count_labelled, cross_entropy
from fada_tf.models.layers import resize
from tests import tf32

BATCH, LOW, SIZE, CLASSES = 2, (4, 6), (24, 40), 5
ALIGNED = (False, True)  # logits of a head that aligns borders, and the discriminator's
ROW = 40 * 2 * CLASSES * BATCH  # values of the larger map


def inputs():
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(0, 3, (BATCH, *LOW, CLASSES)), tf.float32)
    domain_logits = tf.constant(rng.normal(0, 3, (BATCH, *LOW, 2 * CLASSES)), tf.float32)
    labels = rng.integers(0, CLASSES, (BATCH, *SIZE))
    labels[0, :7] = 255  # whole blocks without labels, so that their means have other denominators
    return logits, domain_logits, tf.constant(labels, tf.uint8)


def losses_of(logits, domain_logits, labels, count=None, pixels=None):
    knowledge = soft_class_knowledge(logits, 1.8, 0.9)
    return (
        cross_entropy(logits, labels, count),
        fine_grained_cross_entropy(domain_logits, knowledge, SOURCE, pixels),
        fine_grained_cross_entropy(domain_logits, knowledge, TARGET, pixels),
    )


def plain(logits, domain_logits, labels):
    aligned, of_domains = ALIGNED
    whole = resize(logits, SIZE, align_corners=aligned), resize(domain_logits, SIZE, align_corners=of_domains)
    return losses_of(*whole, labels)


def in_blocks(logits, domain_logits, labels):
    count, pixels = count_labelled(labels), tf.cast(tf.size(labels), tf.float32)
    return row_blocks.sum_over_row_blocks(
        lambda logits, domain_logits, labels: losses_of(logits, domain_logits, labels, count, pixels),
        [logits, domain_logits],
        SIZE,
        [labels],
        align_corners=ALIGNED,
    )


def values_and_gradients(function, *weights, xla=None):
    """Returns losses and gradients for each of the given weights of the losses; the function is traced once."""
    logits, domain_logits, labels = inputs()

    @tf.function(jit_compile=xla)
    def compute(weights):
        with tf.GradientTape() as tape:
            tape.watch([logits, domain_logits])
            losses = function(logits, domain_logits, labels)
            total = tf.reduce_sum(weights * tf.stack(losses))
        return losses, tape.gradient(total, [logits, domain_logits], unconnected_gradients="zero")

    return [tf.nest.map_structure(lambda tensor: tensor.numpy(), compute(tf.constant(each))) for each in weights]


@pytest.fixture(params=["cpu", "plain"])
def block_values(request, monkeypatch):
    """Sets the size of blocks of either form, which is used in the test."""
    constant = {"cpu": "_BLOCK_VALUES", "plain": "_PLAIN_BLOCK_VALUES"}[request.param]
    with forms.chosen(request.param):
        yield lambda values: monkeypatch.setattr(row_blocks, constant, values)


@pytest.mark.parametrize("values", [1, 5 * ROW, *(pytest.param(r * ROW, marks=pytest.mark.slow) for r in (3, 6, 24))])
def test_losses_and_gradients_are_those_of_whole_maps(block_values, values):
    block_values(values)
    weights = (1.0, 0.0, 0.0), (1.0, 0.5, 2.0), (0.0, 0.001, 0.0)
    for (expected_losses, expected_gradients), (losses, gradients) in zip(
        values_and_gradients(plain, *weights), values_and_gradients(in_blocks, *weights), strict=True
    ):
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
        for gradient, expected in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * max(np.abs(expected).max(), 1e-8))


@pytest.mark.slow
def test_xla_compiles_many_blocks(block_values):
    block_values(5 * ROW)  # a first block of four rows
    weights = (1.0, 0.5, 2.0)
    plain_results, compiled = (values_and_gradients(in_blocks, weights, xla=xla) for xla in (None, True))
    for expected, value in zip(tf.nest.flatten(plain_results), tf.nest.flatten(compiled), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_a_loss_that_a_map_does_not_reach_leaves_it_without_gradient():
    logits, domain_logits, labels = inputs()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([logits, domain_logits])
        segmentation, adversarial, _ = in_blocks(logits, domain_logits, labels)
    assert np.abs(tape.gradient(segmentation, logits)).max() > 0
    # The class knowledge is a constant.
    np.testing.assert_array_equal(tape.gradient(adversarial, logits, unconnected_gradients="zero"), 0)
    assert np.abs(tape.gradient(adversarial, domain_logits)).max() > 0


def test_no_map_of_full_size_is_ever_made(block_values):
    block_values(3 * ROW)

    def largest(function):
        @tf.function
        def compute(logits, domain_logits, labels):
            with tf.GradientTape() as tape:
                tape.watch([logits, domain_logits])
                total = tf.add_n(function(logits, domain_logits, labels))
            return tape.gradient(total, [logits, domain_logits])

        graph = compute.get_concrete_function(*inputs()).graph
        graphs = [graph, *(graph._get_function(name).graph for name in graph._functions)]
        outputs = (tensor for each in graphs for operation in each.get_operations() for tensor in operation.outputs)
        return max(tensor.shape.num_elements() or 0 for tensor in outputs if tensor.dtype == tf.float32)

    full = BATCH * SIZE[0] * SIZE[1] * 2 * CLASSES
    assert largest(plain) >= full
    assert largest(in_blocks) < full // (4 if forms.for_cpu() else 2)  # GPUs gather rows of gradients repeatedly


def test_gpus_take_fewer_and_larger_blocks():
    rows = {}
    for name in ("cpu", "plain"):
        with forms.chosen(name):
            rows[name] = row_blocks._rows(720, 1280 * 2 * 19)
    assert rows["plain"] >= 3 * rows["cpu"]


@pytest.mark.parametrize("form", ["cpu", "plain"])
def test_products_of_ten_bits_do_not_move_the_losses_of_gpus(form, monkeypatch):
    weights = (1.0, 0.5, 2.0)
    with forms.chosen(form):
        exact = values_and_gradients(in_blocks, weights)
        tf32.round_products(monkeypatch)
        rounded = values_and_gradients(in_blocks, weights)
    pairs = zip(tf.nest.flatten(exact), tf.nest.flatten(rounded), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs) == (form == "plain")


@pytest.mark.parametrize(("height", "rows"), [(720, 24), (120, 24), (719, 24), (769, 24), (47, 24), (49, 17), (1, 1)])
def test_blocks_are_nearly_of_one_height_whatever_the_height_of_the_image(height, rows):
    assert row_blocks._rows(height, row_blocks._BLOCK_VALUES // 24) == rows


def test_a_block_has_one_row_at_least():
    assert row_blocks._rows(7, 2 * row_blocks._BLOCK_VALUES) == 1
