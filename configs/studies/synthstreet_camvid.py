"""The paper's ablation on synthstreet to CamVid with VGG-16, three seeds.

python scripts/run_study.py --config=configs/studies/synthstreet_camvid.py
"""

from fada_tf.experiments.study import Study


def get_study() -> Study:
    return Study(
        name="synthstreet_camvid",
        experiment="configs/synthstreet_camvid.py",
        test_records="data/records/camvid_test",
        overrides={"training.keep_checkpoints": 1},  # of 270 MB each, in 21 runs
    )
