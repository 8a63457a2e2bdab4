"""The paper's ablation on synthstreet to CamVid with the small network, three seeds.

python scripts/run_study.py --config=configs/studies/synthstreet_camvid_tiny.py
"""

from fada_tf.experiments.study import Study


def get_study() -> Study:
    return Study(
        name="synthstreet_camvid_tiny",
        experiment="configs/synthstreet_camvid_tiny.py",
        test_records="data/records/camvid_test",
    )
