"""The paper's parameter groups: feature extractor, classifier at ten times its rate, discriminator."""

import dataclasses

import keras

from fada_tf.optimizers.torch_equivalent import TorchAdam, TorchSGD


@dataclasses.dataclass
class ParameterGroup:
    """Weights that one optimizer updates."""

    variables: list[keras.Variable]
    optimizer: keras.optimizers.Optimizer

    def __post_init__(self):
        self.optimizer.build(self.variables)


def poly_schedule(learning_rate: float, horizon: int, power: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns learning_rate * (1 - iteration / horizon) ** power, set before the step (code)."""
    return keras.optimizers.schedules.PolynomialDecay(learning_rate, horizon, end_learning_rate=0.0, power=power)


def segmenter_groups(
    segmenter: keras.Model,
    *,
    learning_rate: float,
    classifier_multiplier: float,
    momentum: float,
    weight_decay: float,
    horizon: int,
    power: float,
) -> dict[str, ParameterGroup]:
    """Returns "feature_extractor" and "classifier" under `TorchSGD`; see `OptimizerConfig` for the values."""

    def group(model: keras.Model, rate: float, name: str) -> ParameterGroup:
        schedule = poly_schedule(rate, horizon, power)
        return ParameterGroup(model.trainable_variables, TorchSGD(schedule, momentum, weight_decay, name))

    return {
        "feature_extractor": group(segmenter.feature_extractor, learning_rate, "feature_sgd"),
        "classifier": group(segmenter.classifier, learning_rate * classifier_multiplier, "classifier_sgd"),
    }


def discriminator_group(
    discriminator: keras.Model,
    *,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    horizon: int,
    power: float,
) -> dict[str, ParameterGroup]:
    """Returns the group "discriminator" under `TorchAdam`; see `OptimizerConfig` for the values."""
    schedule = poly_schedule(learning_rate, horizon, power)
    optimizer = TorchAdam(schedule, beta_1, beta_2, epsilon, "discriminator_adam")
    return {"discriminator": ParameterGroup(discriminator.trainable_variables, optimizer)}
