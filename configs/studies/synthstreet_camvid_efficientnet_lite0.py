"""Every method on synthstreet to CamVid with EfficientNet-Lite0, and their controls, two seeds.

python scripts/run_study.py --config=configs/studies/synthstreet_camvid_efficientnet_lite0.py
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

CONTROL = "source only, as long as the next rows"
LONG_CONTROL = "source only, as long as FADA and MIC"
DISCRIMINATOR = {
    "method.adversarial": True,
    "method.segmentation_temperature": 1.8,
    "method.fada.adversarial_weight": 0.003,
    "method.fada.discriminator.learning_rate": 5e-4,
}


def get_study() -> Study:
    return Study(
        name="synthstreet_camvid_efficientnet_lite0",
        experiment="configs/synthstreet_camvid_efficientnet_lite0.py",
        test_records="data/records/camvid_test",
        seeds=(0, 1),
        trainings=(
            Training("source", "source"),
            Training("mic", "self_training", start="source"),
            Training("control", "source", start="source", continues=True, as_long_as="mic"),
            Training("fada", "adversarial", start="source"),
            Training("binary", "adversarial", start="source", overrides={"method.name": "binary_adversarial"}),
            Training("fada_mic", "self_training", start="source", overrides=DISCRIMINATOR),
            Training("fada_then_mic", "self_training", start="fada", directly=True),
            Training("control_long", "source", start="control", continues=True, as_long_as="fada_then_mic"),
        ),
        rows=(
            Row("source only", "source"),
            Row(CONTROL, "control"),
            Row("binary adversarial", "binary", control=CONTROL),
            Row("FADA", "fada", control=CONTROL),
            Row("MIC", "mic", control=CONTROL),
            Row("MIC, teacher", "mic", control=CONTROL, network="teacher"),
            Row("MIC, multi-scale", "mic", control=CONTROL, multi_scale=True),
            Row("MIC with FADA's discriminator", "fada_mic", control=CONTROL),
            Row("MIC with FADA's discriminator, teacher", "fada_mic", control=CONTROL, network="teacher"),
            Row(LONG_CONTROL, "control_long"),
            Row("FADA, then MIC", "fada_then_mic", control=LONG_CONTROL),
            Row("FADA, then MIC, teacher", "fada_then_mic", control=LONG_CONTROL, network="teacher"),
        ),
        overrides={"training.keep_checkpoints": 1},
    )
