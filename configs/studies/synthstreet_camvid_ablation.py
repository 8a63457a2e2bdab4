"""What each part of MIC is worth on synthstreet to CamVid: one row with each changed, small pictures, one seed.

EfficientNet-Lite0 and whole pictures of 160x120, 4 + 4 at a time: six minutes a row on one CPU core.

python scripts/run_study.py --config=configs/studies/synthstreet_camvid_ablation.py
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

CONTROL = "source only, as long as MIC"
SMALL = {"data.evaluation.height": 120, "data.evaluation.width": 160}
for domain in ("source", "target"):
    SMALL |= {f"data.{domain}.{field}": 0 for field in ("full_height", "full_width")}
    SMALL |= {f"data.{domain}.crop": False, f"data.{domain}.height": 120, f"data.{domain}.width": 160}
SHORT = {"training.batch_size": 4, "training.iterations": 400, "schedule.horizon": 440}
PAPER = {"method.mask_block": 32, "method.class_shares": ""}
DISCRIMINATOR = {
    "method.adversarial": True,
    "method.segmentation_temperature": 1.8,
    "method.fada.adversarial_weight": 0.003,
    "method.fada.discriminator.learning_rate": 5e-4,
}
RARE = {"data.source.sampling": "rare_class", "data.source.rare_class_min_pixels": 500}
GENTLE = {"optimizer.learning_rate": 1e-5, "optimizer.head_multiplier": 1.0}
SOURCE_FREE = {"method.name": "source_free", "data.source.records": ""}
# Of synthstreet's pixels, as make_tfrecords prints them.
SOURCE_SHARES = {"method.class_shares": "0.1526,0.2402,0.0115,0.3445,0.0651,0.0832,0.0092,0.0096,0.0748,0.0056,0.0036"}
START_SHARES = {"method.class_shares": "start"}
# By training: the row's title, and what is changed of the config.
PARTS = {
    "mic": ("MIC", {}),
    "held": ("held to the source's class shares", SOURCE_SHARES),
    "held_to_start": ("held to the shares that it begins with", START_SHARES),
    "dacs": ("without masked images (DACS)", {"method.masked_weight": 0.0}),
    "no_mix": ("without mixed images", {"method.mix_weight": 0.0}),
    "no_blur": ("without blur", {"method.blur": False}),
    "no_jitter": ("without colour jitter of mixed and masked images", {"method.color_jitter": 0.0}),
    "no_source_jitter": ("without colour jitter of source images", {"data.source.color_jitter": False}),
    "all_confident": ("every pseudo label with weight 1", {"method.confidence_threshold": 0.0}),
    "per_batch": ("one weight a batch", {"method.weight_per": "batch"}),
    "no_teacher": ("the teacher is the student", {"method.teacher_decay": 0.0}),
    "slow_teacher": ("the teacher moves a tenth as fast", {"method.teacher_decay": 0.999}),
    "small_blocks": ("blocks half as large", {"method.mask_block": 16}),
    "fourier": ("with Fourier adaptation", {"data.fourier_beta": 0.01}),
    "rare": ("source images drawn for rare classes", RARE),
    "fada_mic": ("with FADA's discriminator", DISCRIMINATOR),
    "source_free": ("source-free", SOURCE_FREE),
    "source_free_held": ("source-free, held to the source's class shares", SOURCE_FREE | SOURCE_SHARES),
    "source_free_start": ("source-free, held to the shares that it begins with", SOURCE_FREE | START_SHARES),
    "gentle": ("source-free, a tenth of the rate", SOURCE_FREE | GENTLE),
}


def get_study() -> Study:
    taught = (
        Training(name, "self_training", start="source", directly=True, overrides=SHORT | PAPER | changes)
        for name, (_, changes) in PARTS.items()
    )
    control = SHORT | {"method.name": "source_only"}
    return Study(
        name="synthstreet_camvid_ablation",
        experiment="configs/synthstreet_camvid_efficientnet_lite0.py",
        test_records="data/records/camvid_test",
        seeds=(0,),
        trainings=(
            Training("source", "source"),
            Training("control", "self_training", start="source", directly=True, overrides=control),
            *taught,
        ),
        rows=(
            Row("source only", "source"),
            Row(CONTROL, "control"),
            *(Row(title, name, control=CONTROL) for name, (title, _) in PARTS.items()),
        ),
        overrides=SMALL
        | {"training.keep_checkpoints": 1, "training.evaluation_interval": 0, "training.picture_interval": 0},
    )
