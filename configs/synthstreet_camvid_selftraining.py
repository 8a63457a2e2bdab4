"""Self-training on rendered streets (synthstreet) to photos (CamVid): source, FADA, then MIC; 11 classes.

The first two stages are those of configs/synthstreet_camvid.py.

    python scripts/run_pipeline.py --config=configs/synthstreet_camvid_selftraining.py
    python scripts/run_study.py --config=configs/studies/synthstreet_camvid_selftraining.py

The study compares MIC with DACS, FADA and controls, with and without FADA's discriminator and warm-up;
scripts/run_study.py --config=configs/studies/synthstreet_camvid_ablation.py takes every part away in turn.
"""

from fada_tf.config import Config, method_settings
from fada_tf.stages import Stage

STAGES = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    Stage("self_training", start="adversarial", title="FADA, then MIC"),
)
RECORDS = "data/records"


def get_config(stage: str = "source") -> Config:
    config = Config(name=f"synthstreet_camvid_selftraining {stage}")
    config.data.label_space = "configs/classes/camvid11.json"
    config.model.backbone = "vgg16"
    config.data.evaluation.records = f"{RECORDS}/camvid_val"
    config.data.evaluation.height, config.data.evaluation.width = 120, 160
    config.training.batch_size = 2
    config.training.iterations = 600 if stage == "source" else 400
    config.training.checkpoint_interval = 200
    config.training.evaluation_interval = 400
    config.training.picture_interval = 200
    # No stage, and no control of all their iterations, comes near the end of the schedule.
    config.schedule.horizon = 2812
    source, target = config.data.source, config.data.target
    source.records = f"{RECORDS}/synthstreet"
    source.height, source.width, source.flip, source.color_jitter = 120, 160, True, True
    source.sampling = "class_balanced"
    if stage == "source":
        config.method = method_settings("source_only")
        config.model.initial_weights = "weights/vgg16_conv_fp16.npz"
        # Twice the paper's rate: a fortieth of its iterations.
        config.optimizer.learning_rate = 1e-3
        return config
    # Goes on where the source stage's schedule stopped.
    config.optimizer.learning_rate = 8e-4
    target.records = f"{RECORDS}/camvid_train"
    target.height, target.width, target.flip = 120, 160, True
    if stage == "adversarial":
        config.method = method_settings("fada", segmentation_temperature=1.8)
        # Thirty times the paper's weight and five times its rate of D: a hundredth of its iterations.
        config.method.adversarial_weight = 0.03
        config.method.discriminator.learning_rate = 5e-4
    else:
        # Four by five cells hide as large a part of a picture as MIC's do.
        config.method = method_settings("mic", mask_block=32)
    return config
