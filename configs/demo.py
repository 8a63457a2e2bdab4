"""The demo: streets in clear and overcast light to streets at dusk, 11 classes, minutes on two CPU cores.

A small network from random weights and a few dozen images show every stage at work, not what the method can reach.
`bash scripts/demo.sh` runs it.
"""

from fada_tf.config import Config, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    # The authors start from ImageNet again; there are no such weights for a network this small.
    Stage("self_distillation", start="adversarial", pseudo_labels="adversarial", title="FADA + self-distillation"),
)
RUNS = "demo_output/runs"
ITERATIONS = {"source": 300, "adversarial": 150, "self_distillation": 150}


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"demo {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.data.evaluation.records = "demo_output/records/target_val"
    config.data.evaluation.height, config.data.evaluation.width = 120, 160
    config.model.backbone = "tiny"
    config.model.batch_norm = "synchronized"
    config.training.batch_size = 4
    config.training.iterations = ITERATIONS[stage]
    config.training.steps_per_loop = 25
    config.training.checkpoint_interval = 50
    config.training.evaluation_interval = 50
    config.training.picture_interval = 150
    # From random weights: 20 times the paper's rate, which is meant for pretrained ones.
    config.optimizer.learning_rate = 1e-2
    config.optimizer.head_multiplier = 1.0
    config.schedule.horizon = 1000
    {"source": _source, "adversarial": _adversarial, "self_distillation": _self_distillation}[stage](config)
    return config


def _source(config: Config) -> None:
    config.method = method_settings("source_only")
    _source_images(config)


def _adversarial(config: Config) -> None:
    config.method = method_settings("fada")
    config.method.segmentation_temperature = 1.8
    config.method.adversarial_weight = 0.01
    config.optimizer.learning_rate = 5e-3
    config.method.discriminator.learning_rate = 1e-3
    _source_images(config)
    config.data.target.records = "demo_output/records/target_train"
    config.data.target.height, config.data.target.width, config.data.target.flip = 120, 160, True


def _self_distillation(config: Config) -> None:
    config.method = method_settings("self_distillation")
    config.optimizer.learning_rate = 2e-3
    target = config.data.target
    target.records = "demo_output/records/target_train_pseudo"
    # No jitter, and scales not below 1: jittered colours and the padding around smaller images would enter the
    # statistics of the batch norms.
    target.height, target.width, target.flip = 120, 160, True
    target.crop, target.scale_max = True, 1.5


def _source_images(config: Config) -> None:
    source = config.data.source
    source.records = "demo_output/records/source"
    source.height, source.width, source.flip = 120, 160, True
    source.sampling = "class_balanced"
