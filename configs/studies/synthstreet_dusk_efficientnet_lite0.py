"""Rendered streets by day to such at dusk with EfficientNet-Lite0: the recipe of synthstreet to CamVid, two seeds.

    python scripts/run_study.py --config=configs/studies/synthstreet_dusk_efficientnet_lite0.py

synthstreet's light.csv gives each picture's light. Those at dusk are the target, of which every third by name, from the
first on, is tested and the others are trained on without labels; all others are the source. `make_tfrecords
--only=FILE` takes the names of each part.
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

WHOLE = "source only, whole pictures"
CONTROL = "source only, whole pictures, as long as MIC"
RECORDS = "data/records"
DUSK = {"data.target.records": f"{RECORDS}/synthstreet_dusk_train"}
FREE = {"method.class_shares": ""}
# Of the source's pixels, as make_tfrecords prints them.
SOURCE_SHARES = {"method.class_shares": "0.1531,0.2379,0.0117,0.3454,0.0648,0.0839,0.0093,0.0096,0.0752,0.0056,0.0035"}


def get_study() -> Study:
    return Study(
        name="synthstreet_dusk_efficientnet_lite0",
        experiment="configs/synthstreet_camvid_efficientnet_lite0.py",
        test_records=f"{RECORDS}/synthstreet_dusk_test",
        seeds=(0, 1),
        trainings=(
            Training("source", "source"),
            Training("whole", "whole", start="source"),
            Training("control", "self_training", start="whole", overrides=DUSK | {"method.name": "source_only"}),
            Training("mic", "self_training", start="whole", overrides=DUSK),
            Training("held_mic", "self_training", start="whole", overrides=DUSK | SOURCE_SHARES),
            Training("free_mic", "self_training", start="source", directly=True, overrides=DUSK | FREE),
        ),
        rows=(
            Row("source only", "source"),
            Row(WHOLE, "whole"),
            Row("MIC, shares not held, from crops", "free_mic", control=WHOLE),
            Row("MIC, shares not held, from crops, teacher", "free_mic", control=WHOLE, network="teacher"),
            Row(CONTROL, "control"),
            Row("MIC, held to the source's shares", "held_mic", control=CONTROL),
            Row("MIC, held to the source's shares, teacher", "held_mic", control=CONTROL, network="teacher"),
            Row("MIC", "mic", control=CONTROL),
            Row("MIC, teacher", "mic", control=CONTROL, network="teacher"),
        ),
        overrides={
            "data.source.records": f"{RECORDS}/synthstreet_day",
            "data.evaluation.records": f"{RECORDS}/synthstreet_dusk_test",
            # Nothing is chosen by a score: the last checkpoint is what counts.
            "training.evaluation_interval": 0,
            "training.keep_checkpoints": 1,
        },
    )
