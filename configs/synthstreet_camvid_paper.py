r"""synthstreet to CamVid with VGG-16 at the paper's constants, without augmentation: what hundreds of iterations show.

The task and the sizes of synthstreet_camvid.py, whose own constants make up for so few iterations.

    python scripts/train.py --config=configs/synthstreet_camvid_paper.py:STAGE \
        --run_dir=runs/synthstreet_camvid_paper/STAGE

Stages: source, adversarial, self_distillation; scripts/make_pseudo_labels.py comes before the last one.
"""

from fada_tf import paper
from fada_tf.config import Config, method_settings

STAGES = paper.STAGES
RECORDS = "data/records"
PRETRAINED = "weights/vgg16_conv_fp16.npz"


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"synthstreet_camvid_paper {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.model.backbone = "vgg16"
    config.data.evaluation.records = f"{RECORDS}/camvid_val"
    config.data.evaluation.height, config.data.evaluation.width = 120, 160
    config.training.batch_size = 2
    config.training.iterations = 400
    config.training.checkpoint_interval = 200
    config.training.evaluation_interval = 400
    config.training.picture_interval = 200
    {"source": _source, "adversarial": _adversarial, "self_distillation": _self_distillation}[stage](config)
    return config


def _source(config: Config) -> None:
    config.method = method_settings("source_only")
    config.model.initial_weights = PRETRAINED
    config.optimizer.learning_rate, config.schedule.horizon = 5e-4, 31_250
    _images(config.data.source, "synthstreet")


def _adversarial(config: Config) -> None:
    config.method = method_settings("fada")
    config.method.segmentation_temperature = config.method.temperature
    _images(config.data.source, "synthstreet")
    _images(config.data.target, "camvid_train")


def _self_distillation(config: Config) -> None:
    config.method = method_settings("self_distillation")
    config.model.initial_weights = PRETRAINED
    config.optimizer.learning_rate, config.schedule.horizon = 5e-4, 31_250
    _images(config.data.target, "camvid_train_pseudo_paper")


def _images(domain, records: str) -> None:
    domain.records = f"{RECORDS}/{records}"
    domain.height, domain.width = 120, 160
