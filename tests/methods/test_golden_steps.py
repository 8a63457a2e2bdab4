"""Training steps against the authors' modules: losses, gradients and weights of a few optimizer steps."""

import numpy as np
import pytest

from fada_tf.methods.base import Method
from fada_tf.models.layers import BatchNorm, FrozenBatchNorm
from tests.goldens import conditioning, steps


def too_large(name: str, ours: steps.Outcome, reference: steps.Outcome) -> dict[str, tuple]:
    """Returns the errors of the kinds that are larger than rounding makes them, with what is allowed."""
    errors, allowed = steps.errors(ours, reference), conditioning.tolerances(name)
    return {kind: (errors[kind], allowed[kind]) for kind in errors if np.any(errors[kind] > allowed[kind])}


# What the others see, this one and that of self-training with VGG-16 see too, but for batch norm in training.
QUICK = "steps_adversarial_resnet50_k19"
CASES = [pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow) for name in steps.STEPS]


@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_reference(name):
    taken = steps.Steps(name)
    ours, reference = taken.take(), taken.reference()

    assert ours.gradient_norms.keys() == reference.gradient_norms.keys()
    assert ours.losses.keys() == reference.losses.keys()
    np.testing.assert_allclose(ours.learning_rates, reference.learning_rates, rtol=1e-5)
    assert not too_large(name, ours, reference)


def without_decay(method: Method) -> None:
    optimizer = method.optimizers["segmenter"]
    optimizer.weight_decays = (0.0,) * len(optimizer.weight_decays)


def other_momentum(method: Method) -> None:
    method.optimizers["segmenter"].momentum = 0.89


def other_mean_of_squares(method: Method) -> None:
    method.optimizers["discriminator"].beta_2 = 0.999


def with_epsilon(method: Method) -> None:
    """Adds torch's epsilon to frozen statistics, which have none, and Keras' instead of torch's to those of a batch."""
    for layer in method.segmenter.feature_extractor.layers:
        if isinstance(layer, BatchNorm):
            layer.epsilon = 1e-3
        elif isinstance(layer, FrozenBatchNorm):
            layer.moving_variance.assign_add(np.full(layer.moving_variance.shape, 1e-5))


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("steps_source_resnet50_k19", without_decay),
        ("steps_source_resnet50_k19", other_momentum),
        ("steps_source_resnet50_k19", with_epsilon),
        ("steps_source_resnet50_k19_bn", without_decay),
        ("steps_source_resnet50_k19_bn", with_epsilon),
        ("steps_adversarial_vgg16_k16", other_mean_of_squares),
    ],
)
def test_a_wrong_step_is_seen(name, spoil):
    taken = steps.Steps(name, spoil)
    assert too_large(name, taken.take(), taken.reference())
