"""A study: the rows of a table, each trained with several seeds, evaluated alike."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fada_tf import experiment_file, paper, shipped
from fada_tf.data import files
from fada_tf.errors import InputError, nearest
from fada_tf.experiment_file import ExperimentFile
from fada_tf.experiments import jobs, stages, study_tables
from fada_tf.experiments.jobs import Cost, Job
from fada_tf.experiments.stages import Experiment, Training
from fada_tf.experiments.study_tables import Result
from fada_tf.runs import results


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
      title: for people.
      training: name of the training that is evaluated.
      multi_scale: whether by the multi-scale test.
      control: title of the row that it is compared with, seed by seed; empty: none.
      network: which network of a training with a teacher, "student" or "teacher"; None: the config's choice.
    """

    title: str
    training: str
    multi_scale: bool = False
    control: str = ""
    network: str | None = None


CONTROL = "source only, as long as FADA"
LONG_CONTROL = "source only, as long as FADA with self-distillation"

# The paper's ablation, and source only for as many iterations as the adapted rows have in total: the fair control.
PAPER_TRAININGS = (
    Training("source", "source"),
    Training("control", "source", start="source", continues=True, as_long_as="fada_soft"),
    Training("control_long", "source", start="control", continues=True, as_long_as="self_distillation"),
    Training("binary", "adversarial", start="source", overrides={"method.name": "binary_adversarial"}),
    Training("fada_hard", "adversarial", start="source", overrides={"method.class_knowledge": "hard"}),
    Training("fada_soft", "adversarial", start="source"),
    Training("self_distillation", "self_distillation", start="fada_soft"),
)
PAPER_ROWS = (
    Row("source only", "source"),
    Row(CONTROL, "control"),
    Row("binary adversarial", "binary", control=CONTROL),
    Row("FADA, hard", "fada_hard", control=CONTROL),
    Row("FADA, soft", "fada_soft", control=CONTROL),
    Row(LONG_CONTROL, "control_long"),
    Row("FADA, soft + self-distillation", "self_distillation", control=LONG_CONTROL),
    Row("FADA, soft + self-distillation, multi-scale", "self_distillation", multi_scale=True, control=LONG_CONTROL),
)


@dataclasses.dataclass
class Study:
    """What a file in configs/studies returns.

    Attributes:
      name: of the study; its files go to runs/studies/NAME unless told otherwise.
      experiment: path of the experiment file, whose settings every row has.
      test_records: folder of the labelled shards that the rows are scored on.
      seeds: each row is trained once with each.
      trainings: each after those that it builds upon; None: the paper's ablation where the experiment has the paper's
        stages, else one of each stage.
      rows: of the table; None: as `trainings`.
      overrides: other values for fields of all configs, by name such as "training.picture_interval".
    """

    name: str
    experiment: str
    test_records: str
    seeds: tuple[int, ...] = (0, 1, 2)
    trainings: Sequence[Training] | None = None
    rows: Sequence[Row] | None = None
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def load_study(path: str) -> Study:
    """Returns what a study file gives.

    Raises:
      InputError: there is no such file, it cannot be run, or it sets what a study has not.
    """
    path = shipped.find(path, shipped.STUDIES)
    get = experiment_file.function(experiment_file.load(path, shipped.STUDIES), "get_study")
    with experiment_file.explained(path, Study, Training, Row):
        study = get()
    if not isinstance(study, Study):
        raise InputError(f"get_study of {path} returns {study!r}: it should return a {Study.__module__}.Study")
    fields = [field.name for field in dataclasses.fields(Study)]
    unknown = [f"{name} (nearest: {nearest(name, fields)})" for name in vars(study) if name not in fields]
    if unknown:
        raise InputError(f"a study has no field {', '.join(unknown)}: {path} sets it")
    if not study.name:
        raise InputError(f"the study of {path} has an empty name: give it one")
    study.experiment, study.test_records = map(os.path.expanduser, (study.experiment, study.test_records))
    return study


class StudyJobs:
    """The jobs of a study and the table of their results.

    Attributes:
      study: what is done.
      rows: of the table.
      jobs: in order, seed by seed.
      jobs_folder: where `jobs.run` keeps what it knows of them.
    """

    def __init__(self, study: Study, output: str):
        """Makes the jobs.

        Args:
          study: what is to be done.
          output: the folder of everything that it makes.

        Raises:
          InputError: the study cannot work.
        """
        listed = ExperimentFile(study.experiment).stages
        papers = {stage.name for stage in listed} == {stage.name for stage in paper.STAGES}
        trainings = study.trainings or (PAPER_TRAININGS if papers else None)
        rows = PAPER_ROWS if papers else tuple(Row(stage.title, stage.name) for stage in listed)
        self.study, self.output = study, output
        self.jobs_folder = os.path.join(output, "jobs")
        self.rows: Sequence[Row] = rows if study.rows is None else study.rows
        self.experiment = Experiment(study.experiment, trainings, study.overrides)
        if not study.test_records:
            raise InputError(f"test_records of study {study.name!r} is empty: name a folder of labelled shards")
        titles = [row.title for row in self.rows]
        for row in self.rows:
            if row.training not in self.experiment.trainings:
                raise InputError(f"row {row.title!r} has the training {row.training!r}, which the study lacks: add it")
            if row.control and row.control not in titles:
                raise InputError(f"row {row.title!r} has the control {row.control!r}, which is no row: add it")
        self.jobs = [job for seed in study.seeds for job in self._seed_jobs(seed)]

    def check_files(self) -> None:
        """Checks that everything is there that the jobs read and do not make.

        Raises:
          InputError: names all that is missing.
        """
        stages.check_files(self.experiment, [self.study.test_records])

    def _seed_jobs(self, seed: int) -> list[Job]:
        prefix, runs = f"seed{seed}/", self._runs(seed)
        todo: list[Job] = []
        for name in self.experiment.trainings:
            pseudo_labels = os.path.join(self.output, "pseudo_labels", f"seed{seed}_{name}")
            todo += self.experiment.training_jobs(name, runs, pseudo_labels, prefix, seed)
            run_dir, trained = os.path.join(runs, name), todo[-1].name
            rows = [row for row in self.rows if row.training == name]
            config = self.experiment.trained(name)
            for multi_scale, network in dict.fromkeys((row.multi_scale, row.network) for row in rows):
                views = f"{'_multi_scale' if multi_scale else ''}{f'_{network}' if network else ''}"
                todo.append(
                    stages.evaluation_job(
                        f"{prefix}{name}/evaluate{views}",
                        run_dir,
                        config,
                        self.study.test_records,
                        multi_scale=multi_scale,
                        after=trained,
                        network=network,
                    )
                )
            if rows and self._analysis:
                todo.append(stages.ccd_job(f"{prefix}{name}/ccd", run_dir, config, self._analysis, after=trained))
        return todo

    @functools.cached_property
    def _analysis(self) -> results.Analysis | None:
        return self.experiment.analysis(self.study.test_records)

    def _runs(self, seed: int) -> str:
        return os.path.join(self.output, f"seed{seed}")

    def results(self) -> list[Result]:
        """Returns what has been measured so far, a result for every row, in order."""
        by_title: dict[str, Result] = {}
        costs = jobs.costs(self.jobs, self.jobs_folder)
        for row in self.rows:
            measured = ((seed, self._measured(row, seed)) for seed in self.study.seeds)
            by_seed = {seed: metrics | self._cost(row, seed, costs) for seed, metrics in measured if metrics}
            iterations = self.experiment.total_iterations(row.training)
            by_title[row.title] = Result(row.title, iterations, by_seed, by_title.get(row.control))
        return list(by_title.values())

    def _cost(self, row: Row, seed: int, costs: Mapping[str, Cost]) -> dict[str, float]:
        """Returns "minutes" and "gigabytes" of a row's training and those that it starts from, if all are known."""
        found = [costs.get(f"seed{seed}/{name}/train") for name in self.experiment.lineage(row.training)]
        known = [cost for cost in found if cost]
        if len(known) < len(found):
            return {}
        memory = {"gigabytes": max(cost.peak_bytes for cost in known) / 1e9} if all(c.peak_bytes for c in known) else {}
        return {"minutes": sum(cost.seconds for cost in known) / 60} | memory

    def _measured(self, row: Row, seed: int) -> dict[str, float]:
        run_dir = os.path.join(self._runs(seed), row.training)
        config = self.experiment.trained(row.training)
        scoring = stages.scoring(config, self.study.test_records, multi_scale=row.multi_scale, network=row.network)
        iteration = config.training.iterations
        scores = results.find(scoring, run_dir, iteration)
        ccd = results.find(self._analysis, run_dir, iteration) if self._analysis else None
        if scores is None:
            return {}
        metrics = {"mean_iou": scores["mean_iou"]}
        metrics |= {f"mean_iou_{count}": value for count, value in scores["subset_mean_iou"].items()}
        metrics |= {name: scores.get(name) for name in ("pixel_accuracy", "boundary_iou", "expected_calibration_error")}
        metrics |= {"ccd": ccd and ccd["mean_ccd"]}
        metrics |= {f"iou/{name}": value for name, value in scores["class_iou"].items()}
        for condition, values in scores.get("by_condition", {}).items():
            metrics |= {f"condition/{condition} {value}": part["mean_iou"] for value, part in values.items()}
        return {name: value for name, value in metrics.items() if value is not None}

    def write_table(self) -> None:
        """Writes table.md, .html, .json and .csv of what has been measured so far, each whole or not at all."""
        rows = self.results()
        study = self.study
        head = {"name": study.name, "experiment": study.experiment, "test_records": study.test_records}
        texts = {
            "md": study_tables.markdown(study.name, study.test_records, rows),
            "html": study_tables.as_page(study.name, study.test_records, rows),
            "json": study_tables.as_json(head, rows),
            "csv": study_tables.as_csv(rows),
        }
        files.make_folder(self.output)
        for suffix, text in texts.items():
            files.write_atomically(os.path.join(self.output, f"table.{suffix}"), text.encode())
