"""What each part of MIC is worth on synthstreet to CamVid: one row without each, small pictures, one seed.

EfficientNet-Lite0 and whole pictures of 160x120, 4 + 4 at a time: five minutes a row on one CPU core.

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
PARTS = {
    "MIC": {},
    "MIC without masked images (DACS)": {"method.masked_weight": 0.0},
    "MIC without mixed images": {"method.mix_weight": 0.0},
    "MIC without colour jitter and blur": {"method.color_jitter": 0.0, "method.blur": False},
    "MIC, every pseudo label with weight 1": {"method.confidence_threshold": 0.0},
    "MIC, the teacher is the student": {"method.teacher_decay": 0.0},
    "MIC, the teacher moves a tenth as fast": {"method.teacher_decay": 0.999},
    "MIC without jitter of the source's colours": {"data.source.color_jitter": False},
    "MIC, one weight a batch": {"method.weight_per": "batch"},
    "MIC with Fourier adaptation": {"data.fourier_beta": 0.01},
    "MIC, source images drawn for rare classes": {
        "data.source.sampling": "rare_class",
        "data.source.rare_class_min_pixels": 500,
    },
    "MIC with FADA's discriminator": {
        "method.adversarial": True,
        "method.segmentation_temperature": 1.8,
        "method.fada.adversarial_weight": 0.003,
        "method.fada.discriminator.learning_rate": 5e-4,
    },
}


def get_study() -> Study:
    names = {title: f"part{number}" for number, title in enumerate(PARTS)}
    taught = (
        Training(name, "self_training", start="source", overrides=SHORT | {"method.mask_block": 32} | PARTS[title])
        for title, name in names.items()
    )
    return Study(
        name="synthstreet_camvid_ablation",
        experiment="configs/synthstreet_camvid_efficientnet_lite0.py",
        test_records="data/records/camvid_test",
        seeds=(0,),
        trainings=(
            Training("source", "source"),
            Training("control", "self_training", start="source", overrides=SHORT | {"method.name": "source_only"}),
            *taught,
        ),
        rows=(
            Row("source only", "source"),
            Row(CONTROL, "control"),
            *(Row(title, name, control=CONTROL) for title, name in names.items()),
        ),
        overrides=SMALL
        | {"training.keep_checkpoints": 1, "training.evaluation_interval": 0, "training.picture_interval": 0},
    )
