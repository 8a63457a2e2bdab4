"""Your labelled pictures to your photos: source only, then self-training with masked images (MIC).

Sized for two CPU cores; on a GPU take larger pictures and ten times the iterations.
"""

from fada_tf.config import Config, DomainConfig, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("self_training", start="source", title="MIC"),
)
RUNS = "runs/my_photos"
HEIGHT, WIDTH = 360, 480  # pixels that pictures are resized to; keep about the shape of your photos
CROP_HEIGHT, CROP_WIDTH = 192, 256  # of what the source stage is trained on, at random places in them
ITERATIONS = 600


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"my photos {stage}")
    config.data.label_space = "my/classes.json"
    config.data.evaluation.records = "data/records/my_target_val"  # "" without labelled photos
    config.data.evaluation.height, config.data.evaluation.width = HEIGHT, WIDTH
    config.model.backbone, config.model.head = "efficientnet_lite0_os32", "segformer"
    config.optimizer.name, config.optimizer.weight_decay = "adamw", 0.01
    config.optimizer.learning_rate, config.optimizer.head_multiplier = 3e-4, 10.0
    config.training.batch_size = 4
    config.training.iterations = ITERATIONS
    config.training.checkpoint_interval = config.training.evaluation_interval = 200
    config.training.picture_interval = 200
    config.schedule.horizon = 2 * ITERATIONS
    _crops(config.data.source, "data/records/my_source", CROP_HEIGHT, CROP_WIDTH)
    config.data.source.color_jitter, config.data.source.sampling = True, "class_balanced"
    if stage == "source":
        config.method = method_settings("source_only")
        config.model.initial_weights = "efficientnet_lite0"  # comes with the library
    else:
        # Whole pictures, fewer at a time: the teacher needs to see what surrounds a thing to name it. Its classes are
        # held to the shares that they begin with, or it would see fewer and fewer things that are rare.
        config.method = method_settings("mic", mask_block=64, inference="better", class_shares="start")
        config.optimizer.learning_rate = 1e-4
        config.training.batch_size = 2
        _crops(config.data.source, "data/records/my_source", HEIGHT, WIDTH)
        _crops(config.data.target, "data/records/my_target", HEIGHT, WIDTH)
    return config


def _crops(domain: DomainConfig, records: str, height: int, width: int) -> None:
    domain.records = records
    domain.crop, domain.full_height, domain.full_width = True, HEIGHT, WIDTH
    domain.height, domain.width, domain.flip = height, width, True
