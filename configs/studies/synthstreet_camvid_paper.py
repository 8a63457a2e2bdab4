"""FADA and its control on synthstreet to CamVid with VGG-16 at the paper's constants, two seeds.

python scripts/run_study.py --config=configs/studies/synthstreet_camvid_paper.py
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

CONTROL = "source only, as long as FADA"
CONTROL_AFTER = "source only, as long as that"
CONTROL_BALANCED = "source only, class-balanced, as long as FADA"
BALANCED = {"data.source.sampling": "class_balanced"}


def get_study() -> Study:
    return Study(
        name="synthstreet_camvid_paper",
        experiment="configs/synthstreet_camvid_paper.py",
        test_records="data/records/camvid_test",
        seeds=(0, 1),
        trainings=(
            Training("source", "source"),
            Training("control", "source", start="source", continues=True, as_long_as="adversarial_long"),
            Training("adversarial", "adversarial", start="source"),
            Training(
                "adversarial_long",
                "adversarial",
                "adversarial",
                continues=True,
                overrides={"training.iterations": 800},
            ),
            Training(
                "adversarial_loss",
                "adversarial",
                start="source",
                overrides={"training.iterations": 800, "method.segmentation_temperature": 1.0},
            ),
            Training(
                "adversarial_rate",
                "adversarial",
                start="source",
                overrides={"training.iterations": 800, "optimizer.learning_rate": 5e-4},
            ),
            Training("source_balanced", "source", overrides=BALANCED),
            Training(
                "adversarial_balanced",
                "adversarial",
                start="source_balanced",
                overrides=BALANCED | {"training.iterations": 800},
            ),
            Training(
                "control_balanced",
                "source",
                start="source_balanced",
                continues=True,
                as_long_as="adversarial_balanced",
                overrides=BALANCED,
            ),
            Training("adversarial_after", "adversarial", start="control", overrides={"training.iterations": 800}),
            Training("control_after", "source", start="control", continues=True, as_long_as="adversarial_after"),
            Training("self_distillation", "self_distillation", start="adversarial"),
        ),
        rows=(
            Row("source only", "source"),
            Row(CONTROL, "control"),
            Row("FADA", "adversarial"),
            Row("FADA, twice as long", "adversarial_long", control=CONTROL),
            Row("FADA, L_seg without T", "adversarial_loss", control=CONTROL),
            Row("FADA, at the source's learning rate", "adversarial_rate", control=CONTROL),
            Row("source only, class-balanced", "source_balanced"),
            Row(CONTROL_BALANCED, "control_balanced"),
            Row("FADA, class-balanced", "adversarial_balanced", control=CONTROL_BALANCED),
            Row("FADA after the control", "adversarial_after", control=CONTROL_AFTER),
            Row(CONTROL_AFTER, "control_after"),
            Row("FADA + self-distillation", "self_distillation", control=CONTROL),
        ),
        overrides={"training.keep_checkpoints": 1},
    )
