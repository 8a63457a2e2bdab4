"""Runs a whole task: the stages of an experiment, their evaluation, and the report.

fada-tf run_pipeline --config=gta5_r101
fada-tf run_pipeline --config=gta5_r101 --config.training.accumulation_steps=4 --dry_run

Runs, weights, sizes and batch norm are those of the experiment file; each stage is a run of the ordinary programs in a
process of its own. The same command continues a task that stopped and skips what is done.
"""

import os

from absl import flags

from fada_tf import cli

_CONFIG, _SET = cli.define_config("Experiment file, configs/NAME.py, without a stage.")
_RECORDS = flags.DEFINE_string(
    "records", "", "Labelled shards to score on; empty: the experiment's evaluation set, if any."
)
_TITLE = flags.DEFINE_string("title", "", "Heading of the report; empty: the experiment's name.")
_REPORT = flags.DEFINE_string("report", "", "The page, an .html file; empty: report.html beside the runs.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Only print the commands, and what is missing.")


def main(argv):
    """Runs the task's jobs."""
    del argv
    from fada_tf.experiment_file import parse_settings
    from fada_tf.experiments import jobs
    from fada_tf.experiments.pipeline import PipelineJobs

    todo = PipelineJobs(
        _CONFIG.value,
        records=_RECORDS.value,
        title=_TITLE.value,
        report=_REPORT.value,
        overrides=parse_settings(_SET.value),
    )
    last = f"open {todo.report} in a browser"
    if not todo.report:
        look = f"fada-tf predict --checkpoint={todo.jobs[-1].output} --images=DIR --output=DIR"
        last = f"nothing is scored, as {_CONFIG.value} has no evaluation records; look with {look}"
    if _DRY_RUN.value:
        cli.dry_run(jobs.commands(todo.jobs), todo.check_files)
        return
    todo.check_files()
    jobs.run(todo.jobs, os.path.join(todo.runs, "jobs"))
    print(last)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    cli.run(main)
