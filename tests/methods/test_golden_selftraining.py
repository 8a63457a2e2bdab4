"""Self-training steps against the peers' arithmetic: losses, labels, gradients of each part, updates, the teacher."""

import dataclasses
import functools

import pytest
import tensorflow as tf

from fada_tf.data.labels import IGNORE
from fada_tf.losses.adversarial import soft_class_knowledge
from tests.goldens import selftraining

QUICK, TRACED = "steps_selftraining_vgg16_k19", "steps_selftraining_vgg16_k19_image"
PASTED = "steps_selftraining_resnet50_k19_mix"  # with pixels that have no label
ADVERSARIAL = "steps_selftraining_resnet50_k16_adversarial"


@pytest.fixture(scope="module")
def of_file(request) -> selftraining.SelfTraining:
    """The steps of the file that the parameter names."""
    return selftraining.SelfTraining(request.param)


@pytest.mark.parametrize("of_file", [QUICK], indirect=True)
def test_the_first_step_is_that_of_the_reference(of_file):
    assert not selftraining.errors(of_file, of_file.take(1))


@pytest.mark.slow
@pytest.mark.parametrize("of_file", selftraining.STEPS, indirect=True)
def test_steps_are_those_of_the_reference(of_file):
    ours = of_file.take(traced=of_file.name == TRACED)  # as in a run, which takes longest
    assert not selftraining.errors(of_file, ours)
    results = {name.removesuffix("_float64") for name in of_file.golden if not name.startswith("arg_")}
    assert results - GIVEN == ours.keys()


# What the files have beside results that are compared: what enters the steps, names, what tolerances are made of,
# shares and means of values that losses depend on, and norms of weights, which say next to nothing of updates.
GIVEN = {
    "mix_classes", "mask_cells", "teacher_alpha", "grad_part_names", "grad_names", "param_names", "d_grad_names",
    "d_param_names", "threshold_distance", "pixels_within_1e-4_of_threshold", "pixels_within_1e-4_of_a_tie",
    "clipped_share", "pseudo_confidence",
    *(f"{network}_{kind}_after" for network in selftraining.NETWORKS for kind in ("norms", "sums")),
}  # fmt: skip


def without_ramp(method, patch):
    move = method.after_update
    patch.setattr(method, "after_update", lambda iteration, measures: move(iteration + 1000, measures))


def over_labelled_pixels(method, patch):
    mixed, passes, seen = method.mixed, method.passes, []

    def watched(*args):
        seen.append(mixed(*args))
        return seen[-1]

    def divided(*batches):
        for yielded in passes(*batches):
            if "mix" in yielded:
                labelled = tf.reduce_mean(tf.cast(seen[-1]["label"] != IGNORE, tf.float32))
                loss = yielded["mix"]
                yielded = yielded | {"mix": dataclasses.replace(loss, value=loss.value / labelled)}
            yield yielded

    patch.setattr(method, "mixed", watched)
    patch.setattr(method, "passes", divided)


def with_weights_of_images(method, patch):
    patch.setattr(method.settings, "weight_per", "image")


def without_masks(method, patch):
    maps = method.segmenter.maps
    patch.setattr(method.segmenter, "maps", lambda *args, mask=None, **options: maps(*args, **options))


def without_margins(method, patch):
    label = method.pseudo_labels
    patch.setattr(method, "pseudo_labels", lambda target: label({"image": target["image"]}))


def without_temperature(method, patch):
    knowledge = functools.partial(soft_class_knowledge, temperature=1.0, confidence_clip=0.9)
    patch.setattr(method.supervised, "class_knowledge", knowledge)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_file", "spoil", "steps", "seen"),
    [
        (QUICK, without_ramp, 2, {"loss_mix", "loss_masked", "teacher_distance", "grad_part_norms"}),
        (PASTED, over_labelled_pixels, 2, {"loss_mix", "grad_part_norms"}),
        (QUICK, with_weights_of_images, 1, {"pseudo_weight", "mixed_weight_mean", "loss_mix", "loss_masked"}),
        (QUICK, without_masks, 1, {"loss_masked", "grad_part_norms", "grad_norms_masked", "grad_norms"}),
        (ADVERSARIAL, without_margins, 1, {"loss_mix", "loss_masked", "mixed_weight_mean", "grad_part_norms"}),
        (ADVERSARIAL, without_temperature, 1, {"loss_adv", "grad_part_norms", "grad_norms_adversarial"}),
    ],
    indirect=["of_file"],
)
def test_a_wrong_step_is_seen(of_file, spoil, steps, seen, monkeypatch):
    spoil(of_file.method, monkeypatch)
    errors = selftraining.errors(of_file, of_file.take(steps))
    assert errors.keys() >= seen
