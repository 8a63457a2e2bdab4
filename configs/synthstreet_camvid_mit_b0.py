"""Rendered streets (synthstreet) to photos (CamVid) with MiT-B0 and SegFormer's head: source, then MIC; 11 classes.

Sized for two CPU cores: 240x180 pixels, batches of 4. Weights are random, so that it runs as it is; a transformer wants
pretrained ones, --config.model.initial_weights=weights/mit_b0.npz, which convert_weights makes.

    python scripts/run_pipeline.py --config=configs/synthstreet_camvid_mit_b0.py
"""

from fada_tf.config import Config, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("self_training", start="source", title="self-training"),
)
RECORDS = "data/records"


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"synthstreet_camvid_mit_b0 {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.model.backbone, config.model.head, config.model.batch_norm = "mit_b0", "segformer", "synchronized"
    config.data.evaluation.records = f"{RECORDS}/camvid_val"
    config.data.evaluation.height, config.data.evaluation.width = 180, 240
    # SegFormer's optimizer; a sixtieth of its iterations at five times its rate.
    optimizer, schedule = config.optimizer, config.schedule
    optimizer.name, optimizer.learning_rate = "adamw", 3e-4
    optimizer.weight_decay, optimizer.decay_all = 0.01, False
    schedule.name, schedule.horizon = "linear", 2000
    schedule.warmup_iterations, schedule.warmup_start = 50, 1e-6
    training = config.training
    training.batch_size = 4
    training.iterations = 600 if stage == "source" else 400
    training.checkpoint_interval = training.picture_interval = 200
    training.evaluation_interval = 400
    source, target = config.data.source, config.data.target
    source.records = f"{RECORDS}/synthstreet"
    source.height, source.width, source.flip, source.color_jitter = 180, 240, True, True
    source.sampling = "class_balanced"
    if stage == "source":
        config.method = method_settings("source_only")
        return config
    target.records = f"{RECORDS}/camvid_train"
    target.height, target.width, target.flip = 180, 240, True
    config.method = method_settings("mic", mask_block=48)
    return config
