r"""The task of synthstreet_camvid.py with a small network from random weights: minutes a stage on two CPU cores.

    python scripts/train.py --config=configs/synthstreet_camvid_tiny.py:STAGE \
        --run_dir=runs/synthstreet_camvid_tiny/STAGE

Stages: source, adversarial, self_distillation; scripts/make_pseudo_labels.py comes before the last one. The control is
the source stage with --config.training.iterations=1300, as many as the three stages have in total.
"""

from fada_tf.config import Config, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    # The authors start from ImageNet again; there are no such weights for a network this small.
    Stage("self_distillation", start="adversarial", pseudo_labels="adversarial", title="FADA + self-distillation"),
)
RECORDS = "data/records"
ITERATIONS = {"source": 600, "adversarial": 400, "self_distillation": 300}


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"synthstreet_camvid_tiny {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.data.evaluation.records = f"{RECORDS}/camvid_val"
    config.data.evaluation.height, config.data.evaluation.width = 120, 160
    config.model.backbone = "tiny"
    config.model.batch_norm = "synchronized"
    config.training.batch_size = 4
    config.training.iterations = ITERATIONS[stage]
    config.training.checkpoint_interval = 200
    config.training.evaluation_interval = 100
    config.training.picture_interval = 200
    # From random weights: 20 times the paper's rate, which is meant for pretrained ones. One horizon for all stages,
    # and lower rates in the later ones.
    config.optimizer.learning_rate = 1e-2
    config.optimizer.head_multiplier = 1.0
    config.schedule.horizon = 2_000
    {"source": _source, "adversarial": _adversarial, "self_distillation": _self_distillation}[stage](config)
    return config


def _source(config: Config) -> None:
    config.method = method_settings("source_only")
    _source_images(config)


def _adversarial(config: Config) -> None:
    config.method = method_settings("fada")
    config.method.segmentation_temperature = 1.8
    # Ten times the paper's weight and rate of D: a hundredth of its iterations.
    config.method.adversarial_weight = 0.01
    config.method.discriminator.learning_rate = 1e-3
    config.optimizer.learning_rate = 5e-3
    _source_images(config)
    target = config.data.target
    target.records = f"{RECORDS}/camvid_train"
    target.height, target.width, target.flip = 120, 160, True


def _self_distillation(config: Config) -> None:
    config.method = method_settings("self_distillation")
    config.optimizer.learning_rate = 2e-3
    target = config.data.target
    target.records = f"{RECORDS}/camvid_train_pseudo_tiny"
    target.height, target.width, target.flip, target.color_jitter = 120, 160, True, True


def _source_images(config: Config) -> None:
    source = config.data.source
    source.records = f"{RECORDS}/synthstreet"
    source.height, source.width, source.flip, source.color_jitter = 120, 160, True, True
    source.sampling = "class_balanced"
