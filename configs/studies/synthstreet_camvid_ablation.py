"""What each part of MIC is worth on synthstreet to CamVid with VGG-16: one row without each, one seed.

python scripts/run_study.py --config=configs/studies/synthstreet_camvid_ablation.py
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

CONTROL = "source only, as long as MIC"
PARTS = {
    "MIC": {},
    "MIC without masked images (DACS)": {"method.name": "dacs"},
    "MIC without mixed images": {"method.mix_weight": 0.0},
    "MIC without colour jitter and blur": {"method.color_jitter": 0.0, "method.blur": False},
    "MIC, every pseudo label with weight 1": {"method.confidence_threshold": 0.0},
    "MIC, the teacher is the student": {"method.teacher_decay": 0.0},
    "MIC, the teacher moves a tenth as fast": {"method.teacher_decay": 0.999},
    "MIC without jitter of the source's colours": {"data.source.color_jitter": False},
    "MIC, one weight a batch": {"method.weight_per": "batch"},
    "MIC with Fourier adaptation": {"data.fourier_beta": 0.01},
    "MIC, source images drawn for rare classes": {"data.source.sampling": "rare_class"},
}


def get_study() -> Study:
    names = {title: f"part{number}" for number, title in enumerate(PARTS)}
    return Study(
        name="synthstreet_camvid_ablation",
        experiment="configs/synthstreet_camvid_selftraining.py",
        test_records="data/records/camvid_test",
        seeds=(0,),
        trainings=(
            Training("source", "source"),
            Training("control", "source", start="source", continues=True, as_long_as="part0"),
            *(
                Training(names[title], "self_training", start="source", directly=True, overrides=overrides)
                for title, overrides in PARTS.items()
            ),
        ),
        rows=(
            Row("source only", "source"),
            Row(CONTROL, "control"),
            *(Row(title, name, control=CONTROL) for title, name in names.items()),
        ),
        overrides={"training.keep_checkpoints": 1},
    )
