import numpy as np
import pytest
import tensorflow as tf

from fada_tf import randomness
from fada_tf.augmentations import classmix
from tests.goldens import recipe

K = 19


def chosen(labels, numbers):
    """Returns the chosen classes of each image."""
    classes = classmix.choose_classes(tf.constant(labels), K, tf.constant(numbers, tf.float32)).numpy()
    return [set(row[row >= 0].tolist()) for row in classes]


@pytest.mark.parametrize("prefix", ["", "peer_"])
def test_mixed_labels_images_and_weights_are_the_golden_ones(prefix):
    golden = recipe.load("ops_classmix")
    labels, pseudo_labels = golden["label"], golden["pseudo_label"]
    mask = classmix.mask_of(tf.constant(labels), tf.constant(golden[f"{prefix}chosen_classes"]))
    np.testing.assert_array_equal(mask, golden[f"{prefix}mask"] > 0)
    np.testing.assert_array_equal(classmix.paste(mask, labels, pseudo_labels), golden[f"{prefix}mixed_label"])
    weights = np.broadcast_to(golden["pseudo_weight"][:, None, None], labels.shape)
    mixed = classmix.paste(mask, np.ones_like(weights), weights)
    np.testing.assert_array_equal(mixed, golden[f"{prefix}mixed_weight"])
    if not prefix:
        images = [
            recipe.channels_last(recipe.image(golden["arg_seed"] + i, golden["mixed_image"].shape)) for i in (1, 2)
        ]
        np.testing.assert_array_equal(classmix.paste(mask, *images), recipe.channels_last(golden["mixed_image"]))


def test_as_many_classes_are_chosen_as_in_the_golden_from_those_of_each_image():
    golden = recipe.load("ops_classmix")
    numbers = np.random.default_rng(0).random((2, K))
    for classes, number, present in zip(
        chosen(golden["label"], numbers), golden["number_chosen"], golden["classes_of_images"], strict=True
    ):
        assert len(classes) == number
        assert classes < set(present.tolist()) - {-1, 255}


@pytest.mark.parametrize("classes", range(6))
def test_half_rounded_up_of_the_labelled_classes_are_chosen(classes):
    own = np.array([3, 7, 18, 0, 11])[:classes]
    labels = np.full((1, 4, 5), 255, np.uint8)
    labels.flat[:classes] = own
    assert len(chosen(labels, np.zeros((1, K)))[0]) == (classes + 1) // 2  # all numbers are the same
    assert chosen(labels, np.arange(K)[None] / K)[0] == set(sorted(own.tolist())[: (classes + 1) // 2])


def test_every_class_is_chosen_equally_often_and_by_the_image_alone():
    labels = np.tile(np.array([[2, 4, 8, 16, 255]], np.uint8)[None], (4000, 1, 1))
    numbers = randomness.uniform(0, "classes", tf.range(4000, dtype=tf.int64), (K,)).numpy()
    counts = np.bincount([c for row in chosen(labels, numbers) for c in row], minlength=K)
    assert counts.sum() == 8000
    # Each is binomial with 4000 draws of 1 / 2: five deviations are 158.
    np.testing.assert_allclose(counts[[2, 4, 8, 16]], 2000, atol=158)
    assert chosen(labels[:3], numbers[1:4]) == chosen(labels, numbers)[1:4]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_a_pixel_has_image_and_label_from_the_same_side_and_255_is_never_pasted(dtype):
    """Images here hold their labels in their channels, and the side in the last."""
    generator = np.random.default_rng(1)
    labels, pseudo_labels = (generator.choice([*range(K), 255], (3, 20, 30)).astype(dtype) for _ in range(2))
    images = [
        np.stack([values, values, np.full_like(values, side)], -1).astype(np.float32)
        for side, values in enumerate((labels, pseudo_labels))
    ]
    mask = classmix.mask_of(labels, classmix.choose_classes(labels, K, tf.constant(generator.random((3, K)))))
    image, label = classmix.paste(mask, *images).numpy(), classmix.paste(mask, labels, pseudo_labels).numpy()
    assert label.dtype == dtype
    np.testing.assert_array_equal(image[..., 0], label)
    np.testing.assert_array_equal(image[..., 2] == 0, mask)
    assert not (labels[mask.numpy()] == 255).any()
    for own, pasted in zip(labels, mask.numpy(), strict=True):  # whole classes, each on one side
        assert not set(own[pasted].tolist()) & set(own[~pasted].tolist())
