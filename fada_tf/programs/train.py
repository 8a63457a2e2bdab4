"""Trains one stage of an experiment.

fada-tf train --config=gta5_r101:source --run_dir=runs/gta5_r101/source
fada-tf train --config=gta5_r101:adversarial --run_dir=runs/gta5_r101/adversarial \
    --config.training.accumulation_steps=4

fada-tf train --replay=runs/gta5_r101/source --run_dir=runs/gta5_r101/source_again

The same command continues a run that stopped. Every field of the config can be set: --config.SECTION.FIELD=VALUE.
"""

import sys

from absl import flags

from fada_tf import cli
from fada_tf.errors import InputError

_CONFIG, _SET = cli.define_config("Experiment file, with its stage: configs/NAME.py:STAGE.")
_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of this run: config, checkpoints, metrics, TensorBoard events.")
_DETECT_ANOMALY = flags.DEFINE_bool(
    "detect_anomaly", False, "Check every tensor, several times slower, and name the first that is infinite or NaN."
)
_REPLAY = flags.DEFINE_string(
    "replay",
    None,
    "Instead of --config: a run directory; trains the same again and says whether the result is the same.",
)


def main(argv):
    """Validates the config, then trains."""
    del argv
    if (_CONFIG.value is None) == (_REPLAY.value is None):
        raise InputError("--config=FILE:STAGE or --replay=RUN says what to train: give one of them")
    if _REPLAY.value:
        if _SET.value:
            raise InputError(f"--set={_SET.value[0]}: a replay has the settings of its run, and takes no other")
        _replay()
        return
    from fada_tf.experiment_file import read_config

    config = read_config(_CONFIG.value, _SET.value)

    from fada_tf.training.run import train

    train(config, _RUN_DIR.value, detect_anomaly=_DETECT_ANOMALY.value)


def _replay():
    from fada_tf.training.replay import replay

    if different := replay(_REPLAY.value, _RUN_DIR.value):
        print("\n    ".join([f"{_RUN_DIR.value} differs from {_REPLAY.value}:", *different]))
        sys.exit(1)
    print(f"{_RUN_DIR.value} is {_REPLAY.value} again, in every bit of metrics and weights")


if __name__ == "__main__":
    flags.mark_flags_as_required(["run_dir"])
    cli.run(main)
