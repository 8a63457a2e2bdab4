"""The demo: streets in clear light to streets at dusk, 11 classes, minutes on two CPU cores.

EfficientNet-Lite0, trained on ImageNet, and a few dozen pictures: source only, then FADA, then self-training (MIC).
`bash scripts/demo.sh` runs it.
"""

from fada_tf.config import Config, DomainConfig, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    Stage("self_training", start="adversarial", title="FADA, then MIC"),
)
RUNS = "demo_output/runs"
RECORDS = "demo_output/records"
ITERATIONS = {"source": 300, "adversarial": 100, "self_training": 150}


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"demo {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.data.evaluation.records = f"{RECORDS}/target_val"
    config.data.evaluation.height, config.data.evaluation.width = 360, 480
    config.model.backbone, config.model.head = "efficientnet_lite0_os32", "segformer"
    config.optimizer.name, config.optimizer.weight_decay = "adamw", 0.01
    config.optimizer.learning_rate, config.optimizer.head_multiplier = 3e-4, 10.0
    config.training.batch_size = 4
    config.training.iterations = ITERATIONS[stage]
    config.schedule.horizon = ITERATIONS[stage] * 11 // 10
    config.training.steps_per_loop = 25
    config.training.checkpoint_interval = 50
    config.training.evaluation_interval = 50
    config.training.picture_interval = 150
    _crops(config.data.source, f"{RECORDS}/source")
    config.data.source.sampling = "class_balanced"
    if stage == "source":
        config.method = method_settings("source_only")
        config.model.initial_weights = "efficientnet_lite0"
        return config
    config.optimizer.learning_rate = 1e-4
    _crops(config.data.target, f"{RECORDS}/target_train")
    if stage == "adversarial":
        config.method = method_settings("fada", segmentation_temperature=1.8)
        # Three times the paper's weight and five times its rate of D, in a hundred iterations.
        config.method.adversarial_weight = 0.003
        config.method.discriminator.learning_rate = 5e-4
    else:
        config.method = method_settings("mic", mask_block=32)
    return config


def _crops(domain: DomainConfig, records: str) -> None:
    domain.records = records
    domain.crop, domain.full_height, domain.full_width = True, 360, 480
    domain.height, domain.width, domain.flip = 192, 256, True
