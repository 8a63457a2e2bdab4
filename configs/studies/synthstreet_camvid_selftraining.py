"""Self-training on synthstreet to CamVid with VGG-16: MIC, DACS, FADA and their controls, two seeds.

python scripts/run_study.py --config=configs/studies/synthstreet_camvid_selftraining.py
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

CONTROL = "source only, as long as MIC"
LONG_CONTROL = "source only, as long as FADA and MIC"
DISCRIMINATOR = {
    "method.adversarial": True,
    "method.segmentation_temperature": 1.8,
    "method.fada.adversarial_weight": 0.03,
    "method.fada.discriminator.learning_rate": 5e-4,
}


def get_study() -> Study:
    return Study(
        name="synthstreet_camvid_selftraining",
        experiment="configs/synthstreet_camvid_selftraining.py",
        test_records="data/records/camvid_test",
        seeds=(0, 1),
        trainings=(
            Training("source", "source"),
            Training("control", "source", start="source", continues=True, as_long_as="mic"),
            Training("fada", "adversarial", start="source"),
            Training("dacs", "self_training", start="source", directly=True, overrides={"method.name": "dacs"}),
            Training("mic", "self_training", start="source", directly=True),
            Training("fada_mic", "self_training", start="source", directly=True, overrides=DISCRIMINATOR),
            Training("fada_then_mic", "self_training", start="fada"),
            Training("control_long", "source", start="control", continues=True, as_long_as="fada_then_mic"),
        ),
        rows=(
            Row("source only", "source"),
            Row(CONTROL, "control"),
            Row("FADA", "fada", control=CONTROL),
            Row("DACS", "dacs", control=CONTROL),
            Row("DACS, teacher", "dacs", control=CONTROL, network="teacher"),
            Row("MIC", "mic", control=CONTROL),
            Row("MIC, teacher", "mic", control=CONTROL, network="teacher"),
            Row("MIC with FADA's discriminator", "fada_mic", control=CONTROL),
            Row("MIC with FADA's discriminator, teacher", "fada_mic", control=CONTROL, network="teacher"),
            Row(LONG_CONTROL, "control_long"),
            Row("FADA, then MIC", "fada_then_mic", control=LONG_CONTROL),
            Row("FADA, then MIC, teacher", "fada_then_mic", control=LONG_CONTROL, network="teacher"),
        ),
        overrides={"training.keep_checkpoints": 1},
    )
