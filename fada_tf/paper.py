"""The paper's three stages: every constant of the authors' experiments that is not the schema's default.

Experiment files start from one of these and add data, sizes and backbone. Iterations and horizons are those of the
authors' configs: a stage runs 0.64 of its schedule.
"""

import os

from fada_tf.config import Config, method_settings
from fada_tf.stages import Stage, find_stage

# Self-distillation starts from ImageNet again: https://github.com/JDAI-CV/FADA/blob/a1c6403/train_with_sd.sh#L9
STAGES = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    Stage("self_distillation", pseudo_labels="adversarial", title="FADA + self-distillation"),
)
CITYSCAPES_TRAIN = "data/records/cityscapes_train"
CITYSCAPES_VAL = "data/records/cityscapes_val"


def stage_config(
    name: str, stage: str, *, backbone: str, imagenet: str, source_records: str, source_size: tuple[int, int]
) -> Config:
    """Returns one stage of an experiment from a synthetic set to Cityscapes.

    Args:
      name: of the experiment; its run directories are runs/NAME/STAGE.
      stage: name of one of `STAGES`.
      backbone: of the segmenter.
      imagenet: initial weights, see `ModelConfig.initial_weights`.
      source_records: folder of the source's shards.
      source_size: height and width of source images, pixels.

    Raises:
      InputError: no such stage.
    """
    find_stage(STAGES, stage, f"{name}, an experiment of the paper,")
    config = Config(name=f"{name} {stage}")
    config.model.backbone = backbone
    config.data.evaluation.records = CITYSCAPES_VAL
    if stage == "source":
        _source(config, imagenet, source_records, source_size)
    elif stage == "adversarial":
        _adversarial(config, os.path.join("runs", name, "source"), source_records, source_size)
    else:
        _self_distillation(config, imagenet, pseudo_records=f"{CITYSCAPES_TRAIN}_pseudo_{name}")
    return config


def _source(config: Config, initial_weights: str, records: str, size: tuple[int, int]) -> None:
    config.method = method_settings("source_only")
    config.model.initial_weights = initial_weights
    _source_images(config, records, size)
    _evaluation_size(config, 512, 1024)
    _supervised(config)


def _adversarial(config: Config, initial_weights: str, records: str, size: tuple[int, int]) -> None:
    config.method = method_settings("fada", segmentation_temperature=1.8)
    config.model.initial_weights = initial_weights
    _source_images(config, records, size)
    config.data.source.color_jitter = True
    config.data.target.records = CITYSCAPES_TRAIN
    config.data.target.height, config.data.target.width = 512, 1024
    _evaluation_size(config, 512, 1024)
    config.optimizer.learning_rate = 2.5e-4
    config.schedule.horizon = 62_500
    config.training.iterations = 40_000
    config.training.batch_size = 4


def _self_distillation(config: Config, initial_weights: str, pseudo_records: str) -> None:
    config.method = method_settings("self_distillation")
    config.model.initial_weights = initial_weights
    target = config.data.target
    target.records = pseudo_records
    target.crop, target.height, target.width = True, 512, 1024
    target.full_height, target.full_width = 1024, 2048
    target.scale_min, target.scale_max = 0.5, 1.5
    target.flip = True
    _evaluation_size(config, 1024, 2048)
    _supervised(config)


def _source_images(config: Config, records: str, size: tuple[int, int]) -> None:
    source = config.data.source
    source.records = records
    source.height, source.width = size
    source.sampling = "class_balanced"


def _evaluation_size(config: Config, height: int, width: int) -> None:
    config.data.evaluation.height, config.data.evaluation.width = height, width


def _supervised(config: Config) -> None:
    config.optimizer.learning_rate = 5e-4
    config.schedule.horizon = 31_250
    config.training.iterations = 20_000
    config.training.batch_size = 8
