r"""Photos of Cambridge by day (labelled) to photos at dusk (unlabelled), CamVid, 11 classes, with the small network.

Sequences are told by file name: 0001TP is dusk. IMAGES and LABELS are CamVid's folders of one split each.

    python scripts/make_tfrecords.py --images=IMAGES/train --labels=LABELS/train --names='0006R0_*,0016E5_*' \
        --classes=configs/classes/camvid11.json --output=data/records/camvid_train_day
    python scripts/make_tfrecords.py --images=IMAGES/train --names='0001TP_*' --output=data/records/camvid_train_dusk
    python scripts/make_tfrecords.py --images=IMAGES/test --labels=LABELS/test --names='0001TP_*' \
        --classes=configs/classes/camvid11.json --output=data/records/camvid_test_dusk
    python scripts/train.py --config=configs/camvid_day_dusk.py:STAGE --run_dir=runs/camvid_day_dusk/STAGE

Stages: source, adversarial, self_distillation; scripts/make_pseudo_labels.py comes before the last one.
scripts/run_study.py --config=configs/studies/camvid_day_dusk.py runs all, with controls and three seeds.
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
    config = Config(name=f"camvid_day_dusk {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.data.evaluation.records = f"{RECORDS}/camvid_test_dusk"
    config.data.evaluation.height, config.data.evaluation.width = 120, 160
    config.model.backbone = "tiny"
    config.model.batch_norm = "synchronized"
    config.training.batch_size = 4
    config.training.iterations = ITERATIONS[stage]
    config.training.checkpoint_interval = 200
    # There is no dusk in CamVid's val, so nothing is chosen by a score: the last checkpoint is what counts.
    config.training.evaluation_interval = 0
    config.training.picture_interval = 200
    # From random weights: 20 times the paper's rate, which is meant for pretrained ones.
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
    target.records = f"{RECORDS}/camvid_train_dusk"
    target.height, target.width, target.flip = 120, 160, True


def _self_distillation(config: Config) -> None:
    config.method = method_settings("self_distillation")
    config.optimizer.learning_rate = 2e-3
    target = config.data.target
    target.records = f"{RECORDS}/camvid_train_dusk_pseudo"
    target.height, target.width, target.flip = 120, 160, True


def _source_images(config: Config) -> None:
    source = config.data.source
    source.records = f"{RECORDS}/camvid_train_day"
    source.height, source.width, source.flip = 120, 160, True
    source.sampling = "class_balanced"
