"""Rendered streets (synthstreet) to photos (CamVid) with EfficientNet-Lite0, 11 classes: source, FADA, self-training.

Sized for two CPU cores: crops of 256x192 out of pictures of 480x360, batches of 4 (4 + 4), SegFormer's head; then whole
pictures, 2 (2 + 2). Of crops, MIC's teacher cannot tell pavement from road, and the student believes it. Its pseudo
labels are held to the class shares that it begins with, and rare classes at least to those of the source: poles and
signs would lose their pixels to what is behind them.

    python scripts/run_pipeline.py --config=configs/synthstreet_camvid_efficientnet_lite0.py
    python scripts/run_study.py --config=configs/studies/synthstreet_camvid_efficientnet_lite0.py

Another task has the same recipe with --set=data.source.records=FOLDER, --set=data.target.records=FOLDER and
--set=data.evaluation.records=FOLDER.
"""

from fada_tf.config import Config, DomainConfig, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    Stage("whole", start="source", title="source only, whole pictures"),
    Stage("self_training", start="whole", title="MIC"),
)
RECORDS = "data/records"
FULL = 360, 480


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"synthstreet_camvid_efficientnet_lite0 {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.data.evaluation.records = f"{RECORDS}/camvid_val"
    config.data.evaluation.height, config.data.evaluation.width = FULL
    config.model.backbone, config.model.head = "efficientnet_lite0_os32", "segformer"
    config.optimizer.name, config.optimizer.weight_decay = "adamw", 0.01
    config.optimizer.learning_rate, config.optimizer.head_multiplier = 3e-4, 10.0
    config.training.batch_size = 4
    config.training.iterations = 1000 if stage == "source" else 600
    config.training.checkpoint_interval = 200
    config.training.evaluation_interval = 200
    config.training.picture_interval = 200
    # Every stage comes near the end of its own schedule, where what it scores settles.
    config.schedule.horizon = config.training.iterations * 11 // 10
    _crops(config.data.source, f"{RECORDS}/synthstreet")
    config.data.source.color_jitter, config.data.source.sampling = True, "class_balanced"
    if stage == "source":
        config.method = method_settings("source_only")
        config.model.initial_weights = "efficientnet_lite0"
        return config
    config.optimizer.learning_rate = 1e-4
    if stage == "adversarial":
        _crops(config.data.target, f"{RECORDS}/camvid_train")
        config.method = method_settings("fada", segmentation_temperature=1.8)
        # Three times the paper's weight and five times its rate of D, in a hundredth of its iterations.
        config.method.adversarial_weight = 0.003
        config.method.discriminator.learning_rate = 5e-4
        return config
    config.training.batch_size = 2
    _crops(config.data.source, f"{RECORDS}/synthstreet", *FULL)
    config.method = method_settings("source_only")
    if stage == "self_training":
        _crops(config.data.target, f"{RECORDS}/camvid_train", *FULL)
        config.method = method_settings("mic", mask_block=64, class_shares="start")
    return config


def _crops(domain: DomainConfig, records: str, height: int = 192, width: int = 256) -> None:
    domain.records = records
    domain.crop, domain.full_height, domain.full_width = True, *FULL
    domain.height, domain.width, domain.flip = height, width, True
