"""The stages of an experiment as jobs: training, pseudo labels, evaluation, class center distance."""

import copy
import dataclasses
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fada_tf import migration, schema, shipped
from fada_tf.config import Config, method_settings
from fada_tf.config_fields import (
    FREE_FIELDS,
    expand_home,
    flatten,
    has_field,
    set_fields,
    trained_domains,
    untrained_settings,
)
from fada_tf.data import files
from fada_tf.data.manifest import MANIFEST_NAME, folders
from fada_tf.errors import InputError
from fada_tf.experiment_file import ExperimentFile
from fada_tf.experiments.jobs import Job
from fada_tf.runs import results
from fada_tf.stages import Stage
from fada_tf.validation import validate
from fada_tf.windows import Windows

BY_A_JOB = "(by a job)"  # stands for a folder that one makes


@dataclasses.dataclass(frozen=True)
class Training:
    """One training of a stage of an experiment: the pipeline has one of each, a study as many as it likes.

    Attributes:
      name: of the training, and of its run directory.
      stage: of the experiment file.
      start: name of the training that came before; empty: none. The weights are those of this one, which is of the
        stage that the experiment file names. Where the stage reads pseudo labels, or the training `continues`, they may
        be those of the nearest training before it that is of the named stage.
      directly: the weights are those of `start`, whatever stage the experiment file names.
      continues: train on what `start` was, instead of a new run with its weights.
      as_long_as: trained for as many iterations as this training and all before it have together; empty: for the
        experiment's own.
      pseudo_labels: name of the training that labels the images, where the stage reads pseudo labels; empty: `start`.
      unlabelled: folder of the records that are labelled then; empty: as the stage says.
      overrides: other values for fields of the config, by name such as "method.class_knowledge".
    """

    name: str
    stage: str
    start: str = ""
    directly: bool = False
    continues: bool = False
    as_long_as: str = ""
    pseudo_labels: str = ""
    unlabelled: str = ""
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Experiment:
    """An experiment file and the runs that are made of it, which may lie elsewhere than it says.

    Attributes:
      path: of the experiment file, or its name.
      file: what is in it.
      trainings: by name.
    """

    def __init__(
        self, path: str, trainings: Sequence[Training] | None = None, overrides: Mapping[str, Any] | None = None
    ):
        """Sets up the experiment.

        Args:
          path: of the experiment file.
          trainings: each after those that it builds upon; None: one of each stage, of the same name.
          overrides: other values for fields of the configs of all stages that have them.

        Raises:
          InputError: there is no such file or stage, an override is for a field that no stage has, or a training
            builds upon one that is not before it.
        """
        self.path, self.file = path, ExperimentFile(path)
        self._overrides = dict(overrides or {})
        self._configs: dict[str, Config] = {}
        self.trainings: dict[str, Training] = {}
        if trainings is None:
            trainings = [
                Training(stage.name, stage.name, _name(stage.start), pseudo_labels=_name(stage.pseudo_labels))
                for stage in self.file.stages
            ]
        for training in trainings:
            needs_one = training.continues or self.file.stage(training.stage).pseudo_labels
            for before in _before(training) or ([""] if needs_one else []):
                if before not in self.trainings:
                    raise InputError(f"{training.name} starts from {before!r}: give that training before it")
            self.trainings[training.name] = training
        for field in self._overrides:
            configs = [self._with_method(training) for training in self.trainings.values()]
            if configs and not any(has_field(config, field) for config in configs):
                schema.check_field(configs[0], field)

    def stage_config(self, name: str) -> Config:
        """Returns a stage's config as the experiment file has it.

        Raises:
          InputError: there is no such stage.
        """
        if name not in self._configs:
            self.file.stage(name)
            self._configs[name] = self.file.config(name)
        return self._configs[name]

    def _with_method(self, training: Training) -> Config:
        """Returns the config of a training's stage with the training's method, which decides what fields there are."""
        config = copy.deepcopy(self.stage_config(training.stage))
        overrides = self._overrides | dict(training.overrides)
        set_fields(config, {field: value for field, value in overrides.items() if field == "method.name"})
        return config

    def _changed(self, training: Training) -> dict[str, Any]:
        """Returns the overrides that concern a training: of its method's settings, and of domains with records."""
        config = self._with_method(training)
        general = {field: value for field, value in self._overrides.items() if has_field(config, field)}
        set_fields(config, general | dict(training.overrides))
        untrained = untrained_settings(config)
        return {field: value for field, value in general.items() if field not in untrained} | dict(training.overrides)

    def iterations(self, name: str) -> int:
        """Returns the iterations of a training."""
        training = self.trainings[name]
        if training.as_long_as:
            return self.total_iterations(training.as_long_as)
        return self._setting(training, "training.iterations")

    def _setting(self, training: Training, field: str) -> Any:
        """Returns what a field of a training's config is before other trainings are looked at."""
        config = copy.deepcopy(self.stage_config(training.stage))
        set_fields(config, self._changed(training))
        return flatten(config)[field]

    def total_iterations(self, name: str) -> int:
        """Returns the iterations of a training and of those before it."""
        first = self.trainings[name]
        while first.continues:  # its iterations are among this training's
            first = self.trainings[first.start]
        return self.iterations(name) + sum(map(self.total_iterations, _before(first)[:1]))

    def lineage(self, name: str) -> list[str]:
        """Returns the names of a training and of those before it that it starts from, the last first."""
        first = self.trainings[name]
        while first.continues and not self._goes_on(name):  # anew, instead of on what it continues
            first = self.trainings[first.start]
        return [name, *(earlier for before in _before(first)[:1] for earlier in self.lineage(before))]

    def _goes_on(self, name: str) -> bool:
        """Returns whether a training goes on with a copy of the run that it continues."""
        training = self.trainings[name]
        return training.continues and self._horizon(name) == self._horizon(training.start)

    def overrides(self, name: str, runs: str, pseudo_labels: str, seed: int) -> dict[str, Any]:
        """Returns the fields of a training's config that differ from the experiment file.

        Args:
          name: of the training.
          runs: the folder of all its runs.
          pseudo_labels: the folder of the records that another training has labelled.
          seed: of the run.
        """
        training = self.trainings[name]
        stage = self.file.stage(training.stage)
        changed = self._changed(training) | {"seed": seed}
        if training.as_long_as:
            changed["training.iterations"] = self.iterations(name)
            changed["schedule.horizon"] = self._horizon(name)
        if training.start and stage.start:
            changed.setdefault("model.initial_weights", self._initial_weights(training, stage, runs))
        if stage.pseudo_labels:
            changed["data.target.records"] = pseudo_labels
        config = copy.deepcopy(self.stage_config(training.stage))
        in_file = flatten(config)
        set_fields(config, changed)
        settings = flatten(config)
        return {
            field: settings[field] for field in changed if field not in in_file or settings[field] != in_file[field]
        }

    def _initial_weights(self, training: Training, stage: Stage, runs: str) -> str:
        """Returns where the weights that a stage starts from are among `runs`."""
        if training.directly:
            return os.path.join(runs, training.start)
        wanted, slash, inside = stage.start.partition("/")
        before, earlier = _before(training), stage.pseudo_labels or training.continues
        for name in before:  # which grows
            if self.trainings[name].stage == wanted:
                return os.path.join(runs, name) + slash + inside
            before += _before(self.trainings[name]) if earlier else []
        raise InputError(
            f"{training.name} starts from {training.start!r}, and its stage from stage {wanted!r} in {self.file.path}: "
            f"give it a start of that stage, or directly=True for the weights of {training.start!r}"
        )

    def _horizon(self, name: str) -> int:
        """Returns the horizon of the learning rate, stretched where a control's iterations would go beyond it."""
        training, iterations = self.trainings[name], self.iterations(name)
        horizon = self._setting(training, "schedule.horizon")
        if not training.as_long_as or iterations <= horizon:
            return horizon
        return math.ceil(iterations * horizon / self._setting(training, "training.iterations"))

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

    def stage_configs(self) -> Iterator[Config]:
        """Yields the validated configs of the file's stages with the overrides that concern them, in order."""
        for stage in self.file.stages:
            yield self.config(stage.name, self._changed(Training(stage.name, stage.name)))

    def analysis(self, target: str) -> results.Analysis | None:
        """Returns how features of any run are analysed: with the images of the first stage that has source images.

        Args:
          target: folder of the labelled target records.

        Returns:
          What decides class center distances; None where no stage has source images, and one size for all.
        """
        for config in self.stage_configs():
            data = config.data
            if data.source.records and data.evaluation.height:
                return results.Analysis(data.source.records, target, data.evaluation.height, data.evaluation.width)
        return None

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
        stage = self.file.stage(training.stage)
        overrides = self.overrides(name, runs, pseudo_labels, seed)
        config = self.config(training.stage, overrides)
        run_dir = os.path.join(runs, name)
        jobs = []
        before = [f"{prefix}{earlier}/train" for earlier in _before(training)]
        if stage.pseudo_labels:
            jobs.append(self._pseudo_labels_job(training, stage, runs, pseudo_labels, prefix))
            before.append(jobs[0].name)
        options = [f"--config={self.path}:{training.stage}", f"--run_dir={run_dir}"]
        options += [f"--config.{field}={value}" for field, value in overrides.items()]
        continues = self._goes_on(name)
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
                size=config.method.relative_cost
                * (self.iterations(name) - (self.iterations(training.start) if continues else 0)),
            )
        )
        return jobs

    def _pseudo_labels_job(self, training: Training, stage: Stage, runs: str, pseudo_labels: str, prefix: str) -> Job:
        """Returns the job that labels the images of a training."""
        labelling = training.pseudo_labels or training.start
        _, slash, inside = stage.pseudo_labels.partition("/")
        options = [f"--checkpoint={os.path.join(runs, labelling)}{slash}{inside}", f"--output={pseudo_labels}"]
        unlabelled = training.unlabelled or stage.unlabelled
        options += [f"--records={unlabelled}"] if unlabelled else []
        return Job(
            f"{prefix}{training.name}/pseudo_labels",
            "make_pseudo_labels",
            tuple(options),
            pseudo_labels,
            once=True,
            after=(f"{prefix}{labelling}/train",),
            kind="pseudo_labels",
        )


def _name(reference: str) -> str:
    """Returns the stage of a reference such as STAGE/best."""
    return reference.partition("/")[0]


def _before(training: Training) -> list[str]:
    """Returns the names of the trainings that one builds upon, each once."""
    return list(dict.fromkeys(filter(None, (training.start, training.pseudo_labels))))


def scoring(config: Config, records: str, *, multi_scale: bool, network: str | None = None) -> results.Scoring:
    """Returns how a run of a config, or the named network of it, is scored on some records."""
    evaluation = config.data.evaluation
    single = results.Scoring(
        records, evaluation.height, evaluation.width, network=network, windows=Windows.of(evaluation)
    )
    return results.multi_scale(single) if multi_scale else single


def evaluation_job(
    name: str,
    run_dir: str,
    config: Config,
    records: str,
    *,
    multi_scale: bool,
    after: str,
    network: str | None = None,
) -> Job:
    """Returns the job that scores a run, or the named network of it."""
    how = scoring(config, records, multi_scale=multi_scale, network=network)
    options: tuple[str, ...] = (f"--checkpoint={run_dir}", f"--records={records}")
    if multi_scale:
        options += (f"--scales={','.join(f'{scale:g}' for scale in how.scales)}", "--flip")
    if network:
        options += (f"--network={network}",)
    output = results.path(how, run_dir, config.training.iterations)
    kind = "evaluate_multi_scale" if multi_scale else "evaluate"
    return Job(name, "evaluate", options, output, after=(after,), kind=kind)


def ccd_job(name: str, run_dir: str, config: Config, how: results.Analysis, *, after: str) -> Job:
    """Returns the job that computes the class center distance of a run."""
    data = f"--source={how.source}", f"--target={how.target}"
    options = (f"--checkpoint={run_dir}", *data, f"--height={how.height}", f"--width={how.width}")
    output = results.path(how, run_dir, config.training.iterations)
    return Job(name, "analyze_features", options, output, after=(after,), kind="ccd")


def check_files(experiment: Experiment, records: Sequence[str], made: Collection[str] = ()) -> None:
    """Checks that all records and initial weights are there that no job makes.

    Args:
      experiment: whose configs name them.
      records: more folders of shards.
      made: folders of shards that jobs make.

    Raises:
      InputError: names all that is missing.
    """
    wanted_records, weights = list(records), []
    for name, training in experiment.trainings.items():
        config = experiment.trained(name)
        wanted_records.append(training.unlabelled or experiment.file.stage(training.stage).unlabelled)
        wanted_records += [domain.records for domain in trained_domains(config).values()]
        wanted_records.append(config.data.evaluation.records)
        weights.append(shipped.find(config.model.initial_weights, shipped.WEIGHTS))
    names = [folder for records in wanted_records for folder in folders(records)]
    wanted = [os.path.join(folder, MANIFEST_NAME) for folder in names if folder and folder not in (BY_A_JOB, *made)]
    wanted += [path for path in weights if path not in ("", "imagenet") and not path.startswith(BY_A_JOB)]
    missing = [path for path in dict.fromkeys(wanted) if not (files.exists(path) or files.exists(f"{path}.index"))]
    if missing:
        raise InputError(
            f"missing: {', '.join(missing)}: convert the data with fada-tf make_tfrecords, "
            f"put initial weights where the experiment expects them; paths are relative to {os.getcwd()}"
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
