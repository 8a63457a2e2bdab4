"""Trains one stage of an experiment.

python scripts/train.py --config=configs/gta5_r101.py:source --run_dir=runs/gta5_r101/source
python scripts/train.py --config=configs/gta5_r101.py:adversarial --run_dir=runs/gta5_r101/adversarial \
    --config.training.accumulation_steps=4

The same command continues a run that stopped. Every field of the config can be set: --config.SECTION.FIELD=VALUE.
"""

from absl import flags
from ml_collections import config_flags

from fada_tf import cli

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment file, with its stage: configs/NAME.py:STAGE.")
_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of this run: config, checkpoints, metrics, TensorBoard events.")


def main(argv):
    """Validates the config, then trains."""
    del argv
    config = cli.checked_config(_CONFIG)

    from fada_tf.training.run import train

    train(config, _RUN_DIR.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "run_dir"])
    cli.run(main)
