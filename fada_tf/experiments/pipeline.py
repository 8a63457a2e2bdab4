"""A whole task: the stages of an experiment where its file expects them, their scores and the report."""

import os
from collections.abc import Mapping
from typing import Any

from fada_tf.data.manifest import Manifest
from fada_tf.errors import InputError
from fada_tf.experiments import stages
from fada_tf.experiments.jobs import Job
from fada_tf.experiments.stages import Experiment


class PipelineJobs:
    """The jobs of one experiment.

    Attributes:
      runs: the folder of the runs, as the experiment file has it.
      report: path of the report page; empty where there are no labelled records to score on.
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
          records: folder of the labelled shards that the stages are scored on; empty: the experiment's own. Without
            any, the stages are trained and that is all.
          title: of the report; empty: the experiment's name.
          report: path of the page; empty: report.html beside the runs.
          overrides: other values for fields of the configs of all stages that have them.

        Raises:
          InputError: the experiment cannot work, or there is nothing for the report to show.
        """
        self._experiment = Experiment(path, overrides=overrides)
        self.runs = self._experiment.file.runs
        configs = list(self._experiment.stage_configs())
        evaluated = [config.data.evaluation.records for config in configs]
        self._records = records or next(filter(None, evaluated), "")
        if not self._records and (report or title):
            raise InputError(
                f"{path} has no evaluation records to report on: give --records, or no --report and --title"
            )
        self.report = (report or os.path.join(self.runs, "report.html")) if self._records else ""
        self.jobs: list[Job] = []
        measured = []
        analysis = self._experiment.analysis(self._records) if self._records else None
        for name in self._experiment.trainings:
            pseudo_labels = self._experiment.stage_config(name).data.target.records
            self.jobs += self._experiment.training_jobs(name, self.runs, pseudo_labels, "", configs[0].seed)
            if not self._records:
                continue
            run_dir, after, config = os.path.join(self.runs, name), self.jobs[-1].name, self._experiment.trained(name)
            jobs = [
                stages.evaluation_job(
                    f"{name}/evaluate", run_dir, config, self._records, multi_scale=False, after=after
                )
            ]
            if analysis:
                jobs.append(stages.ccd_job(f"{name}/ccd", run_dir, config, analysis, after=after))
            self.jobs += jobs
            measured += [job.name for job in jobs]
        if not self._records:
            return
        listed = self._experiment.file.stages
        runs = [f"--run={stage.title}={os.path.join(self.runs, stage.name)}" for stage in listed]
        options = (*runs, f"--records={self._records}", f"--output={self.report}")
        options += (f"--title={title or os.path.splitext(os.path.basename(path))[0]}",)
        self.jobs.append(Job("report", "report", options, self.report, after=tuple(measured), kind="report"))

    def check_files(self) -> None:
        """Checks that everything is there that the jobs read and do not make, and that what is scored on has labels.

        Raises:
          InputError: names all that is missing.
        """
        stages.check_files(self._experiment, [self._records])
        whole = Manifest.load(self._records) if self._records else None
        if whole and any(part.label_space is None for part in whole.parts or (whole,)):
            raise InputError(f"{self._records} has no labels to score on: convert it with labels, or give --records")
