"""Self-training on CamVid by day to CamVid at dusk with VGG-16, with the settings of synthstreet to CamVid, two seeds.

python scripts/run_study.py --config=configs/studies/camvid_day_dusk_selftraining.py

configs/camvid_day_dusk.py says how the records are made.
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

CONTROL = "source only, as long as MIC"
RECORDS = "data/records"
DUSK = {"data.target.records": f"{RECORDS}/camvid_train_dusk"}


def get_study() -> Study:
    return Study(
        name="camvid_day_dusk_selftraining",
        experiment="configs/synthstreet_camvid_selftraining.py",
        test_records=f"{RECORDS}/camvid_test_dusk",
        seeds=(0, 1),
        trainings=(
            Training("source", "source"),
            Training("control", "source", start="source", continues=True, as_long_as="mic"),
            Training("fada", "adversarial", start="source", overrides=DUSK),
            Training("mic", "self_training", start="source", directly=True, overrides=DUSK),
        ),
        rows=(
            Row("source only", "source"),
            Row(CONTROL, "control"),
            Row("FADA", "fada", control=CONTROL),
            Row("MIC", "mic", control=CONTROL),
        ),
        overrides={
            "data.source.records": f"{RECORDS}/camvid_train_day",
            "data.evaluation.records": f"{RECORDS}/camvid_test_dusk",
            # There is no dusk in CamVid's val, so nothing is chosen by a score: the last checkpoint is what counts.
            "training.evaluation_interval": 0,
            "training.keep_checkpoints": 1,
        },
    )
