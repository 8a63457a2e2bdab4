"""Which configs can work: every field by itself, and the combinations that the schema cannot say."""

import math

from fada_tf import schema
from fada_tf.config import Config, DomainConfig, MethodSettings
from fada_tf.config_fields import flatten, trained_domains, untrained_settings
from fada_tf.errors import InputError
from fada_tf.windows import Windows


def validate(config: Config) -> None:
    """Checks every field and the combinations that cannot work.

    Raises:
      InputError: names the field, its value and what it should be.
    """
    if not isinstance(config.method, MethodSettings):
        raise InputError(f"config.method is {config.method!r}: set it to method_settings(NAME), of fada_tf.config")
    schema.check(config)
    config.method.check(config)
    training, schedule = config.training, config.schedule
    if training.batch_size % training.accumulation_steps:
        raise InputError(
            f"config.training.batch_size {training.batch_size} does not divide into "
            f"config.training.accumulation_steps {training.accumulation_steps} equal parts: choose a multiple"
        )
    if schedule.name != "constant" and training.iterations > schedule.horizon:
        raise InputError(
            f"config.training.iterations {training.iterations} is beyond config.schedule.horizon "
            f"{schedule.horizon}, where the learning rate reaches 0: raise the horizon"
        )
    if schedule.warmup_start and not schedule.warmup_iterations:
        raise InputError(
            f"config.schedule.warmup_start is {schedule.warmup_start}, and there is no warm-up: set it to 0, or "
            "config.schedule.warmup_iterations"
        )
    if config.model.recompute and config.model.batch_norm != "frozen":
        raise InputError(
            f"config.model.recompute is True, and would update the statistics of config.model.batch_norm "
            f"{config.model.batch_norm!r} twice: set it to False, or batch_norm to 'frozen'"
        )
    if not trained_domains(config):
        raise InputError("config.data.source.records is empty: name the folder that fada-tf make_tfrecords wrote")
    for field, default in untrained_settings(config).items():
        records = f"config.{field.rpartition('.')[0]}.records"
        raise InputError(
            f"config.{field} is {flatten(config)[field]!r}, and {records} is empty: set it to {default!r}, or "
            f"{records} to the folder that fada-tf make_tfrecords wrote"
        )
    for name, domain in trained_domains(config).items():
        _validate_domain(domain, f"config.data.{name}")
    _validate_sizes(config)
    evaluation = config.data.evaluation
    own_size = Windows.of(evaluation) and not (evaluation.height or evaluation.width)
    if evaluation.records and not (evaluation.height and evaluation.width) and not own_size:
        raise InputError("config.data.evaluation.height and width are 0: set the size that images are evaluated at")


def record_weights(domain: DomainConfig) -> tuple[float, ...]:
    """Returns how often each of a domain's folders of records is drawn from, in any unit; () for by their sizes.

    Raises:
      InputError: they are no numbers, one is below 0, or all are 0.
    """
    try:
        weights = tuple(float(text) for text in domain.weights.split(",")) if domain.weights else ()
    except ValueError:
        weights = (-1.0,)
    if weights and not (all(0 <= weight < math.inf for weight in weights) and any(weights)):
        raise InputError(f"weights are {domain.weights!r}: give a number for each folder of records, such as 2,1,1")
    return weights


def _validate_domain(domain: DomainConfig, where: str) -> None:
    if not (domain.height and domain.width):
        raise InputError(f"{where}.height and width are {domain.height} and {domain.width}: set the training size")
    try:
        record_weights(domain)
    except InputError as error:
        raise InputError(f"{where}.{error}") from error
    if domain.scale_min > domain.scale_max:
        raise InputError(f"{where}.scale_min {domain.scale_min} is above scale_max {domain.scale_max}: swap them")
    if domain.rare_class_crop_ratio and not domain.crop:
        raise InputError(
            f"{where}.rare_class_crop_ratio is {domain.rare_class_crop_ratio}, and {where}.crop is False: set it to 0, "
            "or crop to True"
        )


def _validate_sizes(config: Config) -> None:
    sizes = [f"{domain.height} x {domain.width}" for domain in trained_domains(config).values()]
    if config.data.fourier_beta and len(set(sizes)) > 1:
        raise InputError(
            f"config.data.fourier_beta is {config.data.fourier_beta}, and config.data.source is {sizes[0]} pixels, "
            f"config.data.target {sizes[1]}: give both one height and width, or set fourier_beta to 0"
        )
