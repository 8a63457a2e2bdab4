"""The paper's ablation on CamVid by day to CamVid at dusk with the small network, three seeds.

python scripts/run_study.py --config=configs/studies/camvid_day_dusk.py

configs/camvid_day_dusk.py says how the records are made.
"""

from fada_tf.experiments.study import Study


def get_study() -> Study:
    return Study(
        name="camvid_day_dusk",
        experiment="configs/camvid_day_dusk.py",
        test_records="data/records/camvid_test_dusk",
    )
