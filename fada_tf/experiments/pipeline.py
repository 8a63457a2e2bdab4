"""A whole task: the three stages of an experiment where its file expects them, their scores and the report."""

import os
from collections.abc import Mapping
from typing import Any

from fada_tf.errors import InputError
from fada_tf.experiments import stages
from fada_tf.experiments.jobs import Job
from fada_tf.experiments.stages import Experiment, Training

TRAININGS = (
    Training("source", "source"),
    Training("adversarial", "adversarial", start="source"),
    Training("self_distillation", "self_distillation", start="adversarial"),
)
TITLES = {"source": "source only", "adversarial": "FADA", "self_distillation": "FADA + self-distillation"}


class PipelineJobs:
    """The jobs of one experiment.

    Attributes:
      runs: the folder of the runs, as the experiment file has it.
      report: path of the report page.
      jobs: in order.
    """

    def __init__(
        self,
        path: str,
        *,
        records: str = "",
        title: str = "",
        report: str = "",
        overrides: Mapping[str, Any] | None = None,
    ):
        """Makes the jobs.

        Args:
          path: of the experiment file.
          records: folder of the labelled shards that the stages are scored on; empty: the experiment's own.
          title: of the report; empty: the experiment's name.
          report: path of the page; empty: report.html beside the runs.
          overrides: other values for fields of the configs of all stages.

        Raises:
          InputError: the experiment cannot work.
        """
        self._experiment = Experiment(path, TRAININGS, overrides)
        self.runs = self._experiment.own_runs
        if not self.runs:
            raise InputError(f"{path}: the adversarial stage starts from no run: set its config.model.initial_weights")
        self.report = report or os.path.join(self.runs, "report.html")
        source = self._experiment.config("source", overrides or {})
        pseudo_labels = self._experiment.stage_config("self_distillation").data.target.records
        self._records = records or source.data.evaluation.records
        if not self._records:
            raise InputError(f"{path} has no evaluation records: give --records")
        self.jobs: list[Job] = []
        measured = []
        for name in self._experiment.trainings:
            self.jobs += self._experiment.training_jobs(name, self.runs, pseudo_labels, "", source.seed)
            run_dir, after = os.path.join(self.runs, name), self.jobs[-1].name
            config, records = self._experiment.trained(name), self._records
            for job in (
                stages.evaluation_job(f"{name}/evaluate", run_dir, config, records, multi_scale=False, after=after),
                stages.ccd_job(f"{name}/ccd", run_dir, config, stages.analysis(source, records), after=after),
            ):
                self.jobs.append(job)
                measured.append(job.name)
        runs = [f"--run={TITLES[name]}={os.path.join(self.runs, name)}" for name in self._experiment.trainings]
        options = (*runs, f"--records={self._records}", f"--output={self.report}")
        options += (f"--title={title or os.path.splitext(os.path.basename(path))[0]}",)
        self.jobs.append(Job("report", "report", options, self.report, after=tuple(measured), kind="report"))

    def check_files(self) -> None:
        """Checks that everything is there that the jobs read and do not make.

        Raises:
          InputError: names all that is missing.
        """
        stages.check_files(self._experiment, [self._records])
