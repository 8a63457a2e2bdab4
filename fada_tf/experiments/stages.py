"""The stages of an experiment as jobs: training, pseudo labels, evaluation, class center distance."""

import ast
import copy
import dataclasses
import functools
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fada_tf import experiment_file, migration
from fada_tf.config import (
    FREE_FIELDS,
    Config,
    expand_home,
    flatten,
    method_settings,
    set_fields,
    trained_domains,
    validate,
)
from fada_tf.data import files
from fada_tf.data.manifest import MANIFEST_NAME
from fada_tf.errors import InputError
from fada_tf.experiments.jobs import Job
from fada_tf.runs import results

_INSIDE_A_RUN = re.compile(r"(/(best|checkpoints)(/ckpt-\d+)?)?/*$")
BY_A_JOB = "(by a job)"  # stands for a folder that one makes


@dataclasses.dataclass(frozen=True)
class Training:
    """One run of a stage of an experiment.

    Attributes:
      name: of the run.
      stage: of the experiment file.
      start: name of the training that came before: its weights are the initial ones where the experiment takes those of
        a run of its own, and it labels the target images for self-distillation; empty: none.
      continues: train on what `start` was, instead of a new run with its weights.
      as_long_as: trained for as many iterations as this training and all before it have together; empty: for the
        experiment's own.
      overrides: other values for fields of the config, by name such as "method.class_knowledge".
    """

    name: str
    stage: str
    start: str = ""
    continues: bool = False
    as_long_as: str = ""
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def parse_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """Reads overrides such as "training.precision=mixed_bfloat16"; what is no Python literal is text.

    Raises:
      InputError: one has no name or no value.
    """
    overrides = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        if not (field and equals):
            raise InputError(f"{setting!r} is no setting: give FIELD=VALUE, such as training.precision=mixed_bfloat16")
        try:
            overrides[field] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            overrides[field] = text
    return overrides


class Experiment:
    """An experiment file and the runs that are made of it, which may lie elsewhere than it says.

    Attributes:
      path: of the file.
      trainings: by name.
    """

    def __init__(self, path: str, trainings: Sequence[Training], overrides: Mapping[str, Any] | None = None):
        """Sets up the experiment.

        Args:
          path: of the experiment file.
          trainings: each after the one that it starts from.
          overrides: other values for fields of all configs.

        Raises:
          InputError: there is no such file, or a training starts from, or continues, one that is not before it.
        """
        self.path = path
        self.trainings: dict[str, Training] = {}
        self._overrides = dict(overrides or {})
        self._configs: dict[str, Config] = {}
        experiment_file.load(path)
        for training in trainings:
            if (training.start or training.continues) and training.start not in self.trainings:
                raise InputError(f"{training.name} starts from {training.start!r}: give that training before it")
            self.trainings[training.name] = training

    @functools.cached_property
    def own_runs(self) -> str:
        """The folder in which the experiment file expects the runs of its stages; empty: it starts from no run."""
        weights = self.stage_config("adversarial").model.initial_weights
        return "" if weights.endswith(".npz") else os.path.dirname(_INSIDE_A_RUN.sub("", weights))

    def stage_config(self, stage: str) -> Config:
        """Returns a stage's config as the experiment file has it.

        Raises:
          InputError: there is no such stage.
        """
        if stage not in self._configs:
            self._configs[stage] = experiment_file.get_config(self.path, stage)
        return self._configs[stage]

    def iterations(self, name: str) -> int:
        """Returns the iterations of a training."""
        training = self.trainings[name]
        if training.as_long_as:
            return self.total_iterations(training.as_long_as)
        return self._own(training, "training.iterations")

    def _own(self, training: Training, field: str) -> Any:
        overrides = self._overrides | dict(training.overrides)
        return overrides.get(field, flatten(self.stage_config(training.stage))[field])

    def total_iterations(self, name: str) -> int:
        """Returns the iterations of a training and of those before it."""
        first = self.trainings[name]
        while first.continues:  # its iterations are among this training's
            first = self.trainings[first.start]
        return self.iterations(name) + (self.total_iterations(first.start) if first.start else 0)

    def overrides(self, name: str, runs: str, pseudo_labels: str, seed: int) -> dict[str, Any]:
        """Returns the fields of a training's config that differ from the experiment file.

        Args:
          name: of the training.
          runs: the folder of all its runs.
          pseudo_labels: the folder of the records that its start has labelled.
          seed: of the run.
        """
        training = self.trainings[name]
        config = self.stage_config(training.stage)
        changed = self._overrides | dict(training.overrides) | {"seed": seed}
        if training.as_long_as:
            changed["training.iterations"] = self.iterations(name)
            changed["schedule.horizon"] = self._horizon(name)
        own_runs = self.own_runs and f"{self.own_runs}/"
        if training.start and own_runs and config.model.initial_weights.startswith(own_runs):
            changed.setdefault("model.initial_weights", self._initial_weights(training, runs))
        if training.stage == "self_distillation":
            changed["data.target.records"] = pseudo_labels
        own = flatten(config)
        return {field: value for field, value in changed.items() if field not in own or own[field] != value}

    def _initial_weights(self, training: Training, runs: str) -> str:
        """Returns where the weights of the stage that the experiment file asks for are among `runs`."""
        asked = self.stage_config(training.stage).model.initial_weights
        stage, *inside = asked.removeprefix(f"{self.own_runs}/").split("/")
        before = self.trainings.get(training.start)
        while before and before.stage != stage:
            before = self.trainings.get(before.start)
        if before is None:
            raise InputError(f"{training.name} starts from {asked} in {self.path}: no training before it is that stage")
        return os.path.join(runs, before.name, *inside)

    def _horizon(self, name: str) -> int:
        """Returns the horizon of the learning rate, stretched where a control's iterations would go beyond it."""
        training, iterations = self.trainings[name], self.iterations(name)
        horizon = self._own(training, "schedule.horizon")
        if not training.as_long_as or iterations <= horizon:
            return horizon
        return math.ceil(iterations * horizon / self._own(training, "training.iterations"))

    def config(self, stage: str, overrides: Mapping[str, Any]) -> Config:
        """Returns the validated config of a stage with other values for some fields.

        Raises:
          InputError: there is no such stage, an override names no field, or the config cannot work with it.
        """
        config = copy.deepcopy(self.stage_config(stage))
        set_fields(config, overrides)
        expand_home(config)
        validate(config)
        return config

    def trained(self, name: str) -> Config:
        """Returns a training's config, whose places of other runs and of pseudo labels are not known yet."""
        return self.config(self.trainings[name].stage, self.overrides(name, BY_A_JOB, BY_A_JOB, seed=0))

    def training_jobs(self, name: str, runs: str, pseudo_labels: str, prefix: str, seed: int) -> list[Job]:
        """Returns the jobs of one training: its pseudo labels, if it needs them, and the run.

        Args:
          name: of the training.
          runs: the folder of all runs; this one's is `runs`/NAME.
          pseudo_labels: the folder for the labelled records.
          prefix: of the jobs' names, empty or ending in a slash.
          seed: of the run.
        """
        training = self.trainings[name]
        overrides = self.overrides(name, runs, pseudo_labels, seed)
        config = self.config(training.stage, overrides)
        run_dir, before = os.path.join(runs, name), [f"{prefix}{training.start}/train"] if training.start else []
        jobs = []
        if training.stage == "self_distillation":
            start = os.path.join(runs, training.start)
            job = Job(
                f"{prefix}{name}/pseudo_labels",
                "make_pseudo_labels",
                (f"--checkpoint={start}", f"--output={pseudo_labels}"),
                pseudo_labels,
                once=True,
                after=tuple(before),
                kind="pseudo_labels",
            )
            jobs.append(job)
            before.append(job.name)
        options = [f"--config={self.path}:{training.stage}", f"--run_dir={run_dir}"]
        options += [f"--config.{field}={value}" for field, value in overrides.items()]
        continues = training.continues and self._horizon(name) == self._horizon(training.start)
        jobs.append(
            Job(
                f"{prefix}{name}/train",
                "train",
                tuple(options),
                run_dir,
                once=True,
                after=tuple(before if continues or not training.continues else ()),
                settings=_settings(config),
                copies=os.path.join(runs, training.start) if continues else "",
                kind=f"train {config.method.name}",
                size=self.iterations(name) - (self.iterations(training.start) if continues else 0),
            )
        )
        return jobs


def scoring(config: Config, records: str, *, multi_scale: bool) -> results.Scoring:
    """Returns how a run of a config is scored on some records."""
    single = results.Scoring(records, config.data.evaluation.height, config.data.evaluation.width)
    return results.multi_scale(single) if multi_scale else single


def evaluation_job(name: str, run_dir: str, config: Config, records: str, *, multi_scale: bool, after: str) -> Job:
    """Returns the job that scores a run."""
    how = scoring(config, records, multi_scale=multi_scale)
    options = (f"--checkpoint={run_dir}", f"--records={records}")
    if multi_scale:
        options += (f"--scales={','.join(f'{scale:g}' for scale in how.scales)}", "--flip")
    output = results.path(how, run_dir, config.training.iterations)
    kind = "evaluate_multi_scale" if multi_scale else "evaluate"
    return Job(name, "evaluate", options, output, after=(after,), kind=kind)


def analysis(source_stage: Config, target: str) -> results.Analysis:
    """Returns how features of any run are analysed: with the source stage's images, at its size."""
    data = source_stage.data
    if not data.source.records:
        raise InputError("the source stage has no config.data.source.records, and class center distances need them")
    return results.Analysis(data.source.records, target, data.evaluation.height, data.evaluation.width)


def ccd_job(name: str, run_dir: str, config: Config, how: results.Analysis, *, after: str) -> Job:
    """Returns the job that computes the class center distance of a run."""
    options = (f"--checkpoint={run_dir}", f"--source={how.source}", f"--target={how.target}")
    options += (f"--height={how.height}", f"--width={how.width}")
    output = results.path(how, run_dir, config.training.iterations)
    return Job(name, "analyze_features", options, output, after=(after,), kind="ccd")


def check_files(experiment: Experiment, records: Sequence[str]) -> None:
    """Checks that all records and initial weights are there that no job makes.

    Args:
      experiment: whose configs name them.
      records: more folders of shards.

    Raises:
      InputError: names all that is missing.
    """
    folders, weights = list(records), []
    for name in experiment.trainings:
        config = experiment.trained(name)
        folders += [domain.records for domain in trained_domains(config).values()]
        folders.append(config.data.evaluation.records)
        weights.append(config.model.initial_weights)
    wanted = [os.path.join(folder, MANIFEST_NAME) for folder in folders if folder and folder != BY_A_JOB]
    wanted += [path for path in weights if path not in ("", "imagenet") and not path.startswith(BY_A_JOB)]
    missing = [path for path in dict.fromkeys(wanted) if not (files.exists(path) or files.exists(f"{path}.index"))]
    if missing:
        raise InputError(
            f"missing: {', '.join(missing)}: convert the data with fada-tf make_tfrecords, "
            "put initial weights where the experiment expects them"
        )


def _settings(config: Config) -> str:
    """Returns what decides the weights that training ends with; a new field of the schema changes no old run's.

    In the words of the first format of configs, so that what was begun then is still known.
    """
    default = Config(method=method_settings(config.method.name))
    before, after = flatten(default) | {"method.name": Config().method.name}, flatten(config)
    changed = [name for name in after if before[name] != after[name] and (name == "name" or name not in FREE_FIELDS)]
    lines = [f"{first}: {before[name]!r}, {after[name]!r}" for name, first in migration.first_names(changed).items()]
    return "; ".join([*lines, f"iterations: {config.training.iterations}"])
