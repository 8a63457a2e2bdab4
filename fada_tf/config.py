"""The one schema of an experiment: every setting with its default, unit, limits and source.

Experiment files in `configs/` return a `Config`; the command line overrides single fields
(`--config.optimizer.learning_rate=1e-3`). `validate` runs before TensorFlow starts. "code" names the authors'
implementation where the paper is silent or differs.
"""

import dataclasses
import json
import os
import types
from collections.abc import Collection
from typing import Any

from fada_tf import registry, schema
from fada_tf.errors import InputError, printable


def option(
    default: Any, doc: str, *, choices: tuple | None = None, minimum: float | None = None, above: float | None = None
) -> Any:
    """Declares a config field: its default, what it means, and what values it takes."""
    metadata = types.MappingProxyType({"doc": doc, "choices": choices, "minimum": minimum, "above": above})
    return dataclasses.field(default=default, metadata=metadata)


def section(factory: type) -> Any:
    """Declares a config field that is a section of its own."""
    return dataclasses.field(default_factory=factory)


@dataclasses.dataclass
class DomainConfig:
    """One domain's training images. Order of the transforms: jitter, then resize (or scale, crop), then flip."""

    records: str = option("", "folder of TFRecord shards with a manifest.json")
    height: int = option(0, "pixels; height of a training image", minimum=0)
    width: int = option(0, "pixels; width of a training image", minimum=0)
    color_jitter: bool = option(False, "random brightness, contrast, saturation and hue (code)")
    scale_min: float = option(1.0, "smallest random scale of the full image before the crop", above=0)
    scale_max: float = option(1.0, "largest random scale of the full image before the crop", above=0)
    full_height: int = option(0, "pixels; height of the image that is scaled and cropped; 0: `height`", minimum=0)
    full_width: int = option(0, "pixels; width of the image that is scaled and cropped; 0: `width`", minimum=0)
    crop: bool = option(False, "random crop of height x width out of the scaled image, instead of resizing")
    flip: bool = option(False, "mirror half of the images")
    sampling: str = option(
        "shuffled", "order of the draws", choices=("shuffled", "class_balanced", "rare_class", "sequential")
    )
    sub_epoch: int = option(3000, "draws after which class-balanced sampling starts anew (code)", minimum=1)
    max_bad_records: int = option(0, "damaged records that may be skipped before the run stops", minimum=0)


@dataclasses.dataclass
class EvaluationConfig:
    """The labelled images that a run is scored on; logits are upsampled to each label's own size."""

    records: str = option("", "folder of TFRecord shards with a manifest.json; empty: no evaluation")
    height: int = option(0, "pixels; images are resized to this height", minimum=0)
    width: int = option(0, "pixels; images are resized to this width", minimum=0)
    batch_size: int = option(0, "images a step, over all replicas; 0: one a replica", minimum=0)


@dataclasses.dataclass
class DataConfig:
    """Which classes, which domains."""

    label_space: str = option("cityscapes19", "name of a built-in label space, or path of a class file")
    source: DomainConfig = section(DomainConfig)
    target: DomainConfig = section(DomainConfig)
    evaluation: EvaluationConfig = section(EvaluationConfig)


@dataclasses.dataclass
class ModelConfig:
    """DeepLab-v2 (paper section 4.2)."""

    backbone: str = option(
        "resnet101", "feature extractor F: a module of fada_tf/models/backbones, or one of its depths"
    )
    batch_norm: str = option(
        "frozen", "stored statistics without epsilon (code), or batch statistics over all replicas",
        choices=("frozen", "synchronized"),
    )  # fmt: skip
    recompute: bool = option(
        False, "keep only the outputs of some blocks in training, and compute the rest twice: less memory, more time"
    )
    initial_weights: str = option(
        "", "empty: random; 'imagenet'; an .npz file of convolutions; or a run directory or checkpoint of this library"
    )


@dataclasses.dataclass
class MethodConfig:
    """What is minimised."""

    name: str = option("source_only", "a module of fada_tf/methods")
    temperature: float = option(1.8, "T: class knowledge is softmax(logits / T) (paper 3.3)", above=0)
    segmentation_temperature: float = option(
        1.0, "source logits are divided by this before L_seg; code: T in the adversarial stage, 1 elsewhere", above=0
    )
    class_knowledge: str = option(
        "soft", "what fada's discriminator learns classes from: probabilities, or the likeliest class (paper 3.3)",
        choices=("soft", "hard"),
    )  # fmt: skip
    confidence_clip: float = option(
        0.9, "soft class knowledge above this is clipped to it; 1: no clip (paper table 6)", above=0
    )
    confidence_threshold: float = option(
        0.9, "pixels whose likeliest class is less probable than this have no hard class knowledge", minimum=0
    )
    adversarial_weight: float = option(0.001, "lambda_adv, the weight of L_adv (paper 4.2)", minimum=0)


@dataclasses.dataclass
class OptimizerConfig:
    """SGD as torch defines it for the segmenter, Adam for the discriminator."""

    learning_rate: float = option(2.5e-4, "of the feature extractor at iteration 0", above=0)
    classifier_multiplier: float = option(10.0, "the classifier's learning rate is this many times higher", above=0)
    momentum: float = option(0.9, "of SGD", minimum=0)
    weight_decay: float = option(
        5e-4, "L2 on all trained weights, biases included (code; the paper says 1e-4)", minimum=0
    )
    horizon: int = option(62_500, "iterations at which the polynomial schedule would reach 0 (code)", minimum=1)
    power: float = option(0.9, "of the polynomial schedule", minimum=0)
    discriminator_learning_rate: float = option(1e-4, "of Adam at iteration 0", above=0)
    discriminator_beta_1: float = option(0.9, "of Adam", minimum=0)
    discriminator_beta_2: float = option(0.99, "of Adam", minimum=0)
    discriminator_epsilon: float = option(1e-8, "of Adam, added after the bias correction as in torch", above=0)


@dataclasses.dataclass
class TrainingConfig:
    """The loop."""

    iterations: int = option(40_000, "optimizer steps", minimum=1)
    batch_size: int = option(4, "images a domain and iteration, over all replicas and accumulation steps", minimum=1)
    accumulation_steps: int = option(
        1,
        "passes an iteration, each with an equal part of the batch: losses are means of the parts' means, and "
        "synchronized batch norm sees one part at a time",
        minimum=1,
    )
    precision: str = option(
        "float32", "compute type; losses stay in float32, and float16 has loss scaling",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )  # fmt: skip
    xla: bool = option(False, "compile forward and backward passes with XLA: for GPUs; slow to start, slower on CPUs")
    channels_order: str = option(
        "automatic", "on GPUs: what TensorFlow finds faster for the compute type, or NHWC throughout",
        choices=("automatic", "last"),
    )  # fmt: skip
    memory_growth: bool = option(True, "take a GPU's memory as it is needed, and not all of it at the start")
    prefetch_to_device: bool = option(True, "copy the next batch to a GPU during a step")
    all_reduce_packs: int = option(
        0, "one machine's: messages that its GPUs send each other's gradients in; 0: TensorFlow's choice", minimum=0
    )
    deterministic: bool = option(False, "the same bits on GPUs too, slower; on a CPU they are the same without")
    steps_per_loop: int = option(
        20, "iterations inside one call of the compiled loop, and between log lines", minimum=1
    )
    checkpoint_interval: int = option(1000, "iterations between checkpoints", minimum=1)
    evaluation_interval: int = option(2000, "iterations between evaluations; 0: only at the end", minimum=0)
    picture_interval: int = option(1000, "iterations between pictures in TensorBoard; 0: none", minimum=0)
    keep_checkpoints: int = option(3, "newest checkpoints kept, beside the best one", minimum=1)


@dataclasses.dataclass
class Config:
    """One training run: one stage of an experiment."""

    name: str = option("", "experiment and stage, for logs and reports")
    seed: int = option(0, "of initial weights, sampling and augmentation", minimum=0)
    data: DataConfig = section(DataConfig)
    model: ModelConfig = section(ModelConfig)
    method: MethodConfig = section(MethodConfig)
    optimizer: OptimizerConfig = section(OptimizerConfig)
    training: TrainingConfig = section(TrainingConfig)


# Changing these does not change what a given iteration computes, so a run may continue with other values.
FREE_FIELDS = (
    "name",
    "data.source.max_bad_records",
    "data.target.max_bad_records",
    "data.evaluation.batch_size",
    "training.iterations",
    "training.steps_per_loop",
    "training.checkpoint_interval",
    "training.evaluation_interval",
    "training.picture_interval",
    "training.keep_checkpoints",
    "training.memory_growth",
    "training.prefetch_to_device",
)

# What a run reads: provenance.json has the digest of each, and a run may continue with another path to the same.
INPUT_FIELDS = (
    "data.label_space", "data.source.records", "data.target.records", "data.evaluation.records",
    "model.initial_weights",
)  # fmt: skip


def trained_domains(config: Config) -> dict[str, DomainConfig]:
    """Returns the domains that have records to train on, by name."""
    domains = {"source": config.data.source, "target": config.data.target}
    return {name: domain for name, domain in domains.items() if domain.records}


def validate(config: Config) -> None:
    """Checks every field and the combinations that cannot work.

    Raises:
      InputError: names the field, its value and what it should be.
    """
    schema.check(config)
    methods = registry.names("fada_tf.methods")
    if config.method.name not in methods:
        raise InputError(f"config.method.name is {config.method.name!r}: choose from {', '.join(methods)}")
    training, optimizer = config.training, config.optimizer
    if training.batch_size % training.accumulation_steps:
        raise InputError(
            f"config.training.batch_size {training.batch_size} does not divide into "
            f"config.training.accumulation_steps {training.accumulation_steps} equal parts: choose a multiple"
        )
    if training.iterations > optimizer.horizon:
        raise InputError(
            f"config.training.iterations {training.iterations} is beyond config.optimizer.horizon "
            f"{optimizer.horizon}, where the learning rate reaches 0: raise the horizon"
        )
    if config.model.recompute and config.model.batch_norm != "frozen":
        raise InputError(
            f"config.model.recompute is True, and would update the statistics of config.model.batch_norm "
            f"{config.model.batch_norm!r} twice: set it to False, or batch_norm to 'frozen'"
        )
    if not trained_domains(config):
        raise InputError("config.data.source.records is empty: name the folder that fada-tf make_tfrecords wrote")
    for name, domain in trained_domains(config).items():
        _validate_domain(domain, f"config.data.{name}")
    evaluation = config.data.evaluation
    if evaluation.records and not (evaluation.height and evaluation.width):
        raise InputError("config.data.evaluation.height and width are 0: set the size that images are evaluated at")


def _validate_domain(domain: DomainConfig, where: str) -> None:
    if not (domain.height and domain.width):
        raise InputError(f"{where}.height and width are {domain.height} and {domain.width}: set the training size")
    if domain.scale_min > domain.scale_max:
        raise InputError(f"{where}.scale_min {domain.scale_min} is above scale_max {domain.scale_max}: swap them")
    if not domain.crop and (domain.scale_min, domain.scale_max) != (1.0, 1.0):
        raise InputError(f"{where}.scale_min and scale_max need {where}.crop=True, or images would differ in size")


def to_json(config: Config) -> str:
    """Returns the whole config as indented JSON, in the order of the schema."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str | bytes, where: str = "config") -> Config:
    """Reads what `to_json` wrote.

    Args:
      text: JSON.
      where: the name of the text in error messages, for example a path.

    Raises:
      InputError: not JSON, an unknown field, or a value of a wrong type.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}): write it again with fada_tf.config.to_json") from error
    return _from_dict(Config, values, where)


def _from_dict(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r}: it should hold the fields of {kind.__name__}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = [name for name in values if name not in fields]
    if unknown:
        raise InputError(f"{where} has unknown fields {printable(', '.join(unknown))}: choose from {', '.join(fields)}")
    contents = {}
    for name, content in values.items():
        own = fields[name].type
        if dataclasses.is_dataclass(own):
            content = _from_dict(own, content, f"{where}.{name}")
        elif not schema.has_type(content, own):
            raise InputError(f"{where}.{name} is {content!r}: it takes a value of type {own.__name__}")
        contents[name] = content
    return kind(**contents)


def expand_home(config: Config) -> None:
    """Replaces a `~` at the beginning of paths by the user's folder, as shells do."""
    for field, value in flatten(config).items():
        if field in INPUT_FIELDS and isinstance(value, str):
            schema.set_field(config, field, os.path.expanduser(value))


def flatten(config: Config) -> dict[str, Any]:
    """Returns the value of every field by its name, such as "optimizer.learning_rate", in the order of the schema."""

    def flat(values: dict, prefix: str = "") -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for name, content in values.items():
            entries |= flat(content, f"{prefix}{name}.") if isinstance(content, dict) else {f"{prefix}{name}": content}
        return entries

    return flat(dataclasses.asdict(config))


def differences(one: Config, other: Config, *, but: Collection[str] = ()) -> list[str]:
    """Returns a line "field: value in one, value in other" for every field that differs and is not named in `but`."""
    first, second = flatten(one), flatten(other)
    names = [name for name in first if first[name] != second[name] and name not in but]
    return [f"{name}: {first[name]!r}, {second[name]!r}" for name in names]
