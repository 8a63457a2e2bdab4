"""Your labelled pictures to your photos: source only, then self-training with masked images (MIC).

Sized for two CPU cores; on a GPU take larger pictures, batches of 4 and ten times the iterations.
"""

from fada_tf.config import Config, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("self_training", start="source", title="MIC"),
)
RUNS = "runs/my_photos"
HEIGHT, WIDTH = 180, 240  # pixels; keep about the shape of your photos
ITERATIONS = 600


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"my photos {stage}")
    config.data.label_space = "my/classes.json"
    config.data.evaluation.records = "data/records/my_target_val"  # "" without labelled photos
    config.data.evaluation.height, config.data.evaluation.width = HEIGHT, WIDTH
    config.model.backbone = "vgg16"
    config.training.batch_size = 2
    config.training.iterations = ITERATIONS
    config.training.checkpoint_interval = config.training.evaluation_interval = 200
    config.schedule.horizon = 4 * ITERATIONS
    source, target = config.data.source, config.data.target
    source.records = "data/records/my_source"
    source.height, source.width, source.flip, source.color_jitter = HEIGHT, WIDTH, True, True
    source.sampling = "class_balanced"
    if stage == "source":
        config.method = method_settings("source_only")
        config.model.initial_weights = "imagenet"  # downloaded once
        config.optimizer.learning_rate = 1e-3
    else:
        config.method = method_settings("mic", mask_block=32, inference="better")
        config.optimizer.learning_rate = 8e-4
        target.records = "data/records/my_target"
        target.height, target.width, target.flip = HEIGHT, WIDTH, True
    return config
