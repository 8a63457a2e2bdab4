"""CamVid by day to CamVid at dusk with EfficientNet-Lite0: the recipe of synthstreet to CamVid as it is, two seeds.

    python scripts/run_study.py --config=configs/studies/camvid_day_dusk_efficientnet_lite0.py

configs/camvid_day_dusk.py says how the records are made.
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

WHOLE = "source only, whole pictures"
CONTROL = "source only, whole pictures, as long as MIC"
RECORDS = "data/records"
DUSK = {"data.target.records": f"{RECORDS}/camvid_train_dusk"}
FREE = {"method.class_shares": ""}
# Of the source's pixels, as make_tfrecords prints them.
SOURCE_SHARES = {"method.class_shares": "0.1703,0.2303,0.0104,0.3553,0.0467,0.0979,0.0122,0.0132,0.0546,0.0066,0.0025"}


def get_study() -> Study:
    return Study(
        name="camvid_day_dusk_efficientnet_lite0",
        experiment="configs/synthstreet_camvid_efficientnet_lite0.py",
        test_records=f"{RECORDS}/camvid_test_dusk",
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
            "data.source.records": f"{RECORDS}/camvid_train_day",
            "data.evaluation.records": f"{RECORDS}/camvid_test_dusk",
            # Nothing is chosen by a score: the last checkpoint is what counts.
            "training.evaluation_interval": 0,
            "training.keep_checkpoints": 1,
        },
    )
