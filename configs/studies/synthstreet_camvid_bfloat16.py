"""synthstreet to CamVid with VGG-16 at the paper's constants, in float32 and in bfloat16: what half the width costs.

Only CPUs with bfloat16 instructions, or GPUs, are fast enough at the latter.

    python scripts/run_study.py --config=configs/studies/synthstreet_camvid_bfloat16.py
"""

from fada_tf.experiments.stages import Training
from fada_tf.experiments.study import Row, Study

BFLOAT16 = {"training.precision": "mixed_bfloat16"}
LONG = {"training.iterations": 800}


def get_study() -> Study:
    """Returns the study; needs the shards and weights of configs/synthstreet_camvid_paper.py."""
    return Study(
        name="synthstreet_camvid_bfloat16",
        experiment="configs/synthstreet_camvid_paper.py",
        test_records="data/records/camvid_test",
        seeds=(0, 1),
        trainings=(
            Training("source", "source"),
            Training("source_bfloat16", "source", overrides=BFLOAT16),
            Training("adversarial", "adversarial", start="source", overrides=LONG),
            Training("adversarial_bfloat16", "adversarial", start="source_bfloat16", overrides=BFLOAT16 | LONG),
        ),
        rows=(
            Row("source only, float32", "source"),
            Row("source only, bfloat16", "source_bfloat16", control="source only, float32"),
            Row("FADA, float32", "adversarial"),
            Row("FADA, bfloat16", "adversarial_bfloat16", control="FADA, float32"),
        ),
        overrides={"training.keep_checkpoints": 1},
    )
