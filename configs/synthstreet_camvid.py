"""A small real task: rendered streets (synthstreet, labelled) to photos of Cambridge (CamVid, unlabelled), 11 classes.

Sized for two CPU cores: VGG-16 at 160x120 pixels, batches of 2 (2 + 2).

    python scripts/train.py --config=configs/synthstreet_camvid.py:STAGE --run_dir=runs/synthstreet_camvid/STAGE

Stages: source, adversarial, self_distillation; scripts/make_pseudo_labels.py comes before the last one.
scripts/run_study.py --config=configs/studies/synthstreet_camvid.py runs all, with controls: docs/results.md
"""

from fada_tf.config import Config, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    Stage("self_distillation", start="adversarial", pseudo_labels="adversarial", title="FADA + self-distillation"),
)
RECORDS = "data/records"
ITERATIONS = {"source": 600, "adversarial": 400, "self_distillation": 200}


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"synthstreet_camvid {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.model.backbone = "vgg16"
    config.data.evaluation.records = f"{RECORDS}/camvid_val"
    config.data.evaluation.height, config.data.evaluation.width = 120, 160
    config.training.batch_size = 2
    config.training.iterations = ITERATIONS[stage]
    config.training.checkpoint_interval = 200
    config.training.evaluation_interval = 400
    config.training.picture_interval = 200
    # The longest control, of 1,200 iterations, ends at 0.6 of the learning rate, and the stages a little above.
    config.schedule.horizon = 2812
    {"source": _source, "adversarial": _adversarial, "self_distillation": _self_distillation}[stage](config)
    return config


def _source(config: Config) -> None:
    config.method = method_settings("source_only")
    config.model.initial_weights = "weights/vgg16_conv_fp16.npz"
    # Twice the paper's rate: a fortieth of its iterations.
    config.optimizer.learning_rate = 1e-3
    _source_images(config)


def _adversarial(config: Config) -> None:
    config.method = method_settings("fada")
    config.method.segmentation_temperature = 1.8
    # Thirty times the paper's weight and five times its rate of D: a hundredth of its iterations.
    config.method.adversarial_weight = 0.03
    # Goes on where the source stage's schedule stopped.
    config.optimizer.learning_rate = 8e-4
    config.method.discriminator.learning_rate = 5e-4
    _source_images(config)
    config.data.target.records = f"{RECORDS}/camvid_train"
    config.data.target.height, config.data.target.width = 120, 160
    config.data.target.flip = True


def _self_distillation(config: Config) -> None:
    config.method = method_settings("self_distillation")
    config.optimizer.learning_rate = 5e-4
    target = config.data.target
    target.records = f"{RECORDS}/camvid_train_pseudo"
    target.height, target.width, target.flip, target.color_jitter = 120, 160, True, True


def _source_images(config: Config) -> None:
    source = config.data.source
    source.records = f"{RECORDS}/synthstreet"
    source.height, source.width, source.flip, source.color_jitter = 120, 160, True, True
    source.sampling = "class_balanced"
