"""Runs a study: every row of a table, trained with several seeds, evaluated alike; then the table.

fada-tf run_study --config=synthstreet_camvid_tiny
fada-tf run_study --config=synthstreet_camvid_tiny --seeds=0 --dry_run

Each stage is a run of the ordinary programs in a process of its own. The same command continues a study that stopped
and skips what is done. The table is written after every evaluation: table.md, table.html, table.json and table.csv in
--output. In a browser it sorts.
"""

import os
import sys

from absl import flags

from fada_tf import cli
from fada_tf.errors import InputError

_CONFIG, _SET = cli.define_config("Study file, configs/studies/NAME.py.")
_OUTPUT = flags.DEFINE_string("output", "", "Folder for everything; empty: runs/studies/NAME.")
_SEEDS = flags.DEFINE_list("seeds", [], "Seeds instead of the study's own, such as 0,1,2.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Only print the commands, and what is missing.")


def main(argv):
    """Runs the study's jobs."""
    del argv
    from fada_tf.data import files
    from fada_tf.experiment_file import parse_settings
    from fada_tf.experiments import jobs
    from fada_tf.experiments.study import StudyJobs, load_study

    study = load_study(_CONFIG.value)
    if _SEEDS.value:
        if not all(seed.isdecimal() for seed in _SEEDS.value):
            raise InputError(f"--seeds={','.join(_SEEDS.value)} is wrong: give numbers such as 0,1,2")
        study.seeds = tuple(int(seed) for seed in _SEEDS.value)
    overrides = parse_settings(_SET.value)
    if "seed" in overrides:
        raise InputError(f"--set=seed={overrides['seed']} would be that of no run: give --seeds")
    study.overrides = {**study.overrides, **overrides}
    output = _OUTPUT.value or os.path.join("runs", "studies", study.name)
    todo = StudyJobs(study, output)
    if _DRY_RUN.value:
        cli.dry_run(jobs.commands(todo.jobs), todo.check_files)
        return
    todo.check_files()
    jobs.run(todo.jobs, todo.jobs_folder, finished=lambda job: todo.write_table())
    sys.stdout.write(files.read_bytes(os.path.join(output, "table.md")).decode())
    print(f"written: {output}/table.md, table.html, table.json, table.csv")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    cli.run(main)
