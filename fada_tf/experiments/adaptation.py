"""Adapting to one's own data as jobs: pictures are converted, then all stages of an experiment are trained on them."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from fada_tf import shipped
from fada_tf.config_fields import expand_home
from fada_tf.data import files, manifest
from fada_tf.data.labels import LABEL_SPACES, LabelSpace
from fada_tf.data.manifest import MANIFEST_NAME, Manifest
from fada_tf.errors import InputError
from fada_tf.experiments import stages
from fada_tf.experiments.jobs import Job
from fada_tf.experiments.stages import Experiment, Training

IMAGES, LABELS, CLASSES = "images", "labels", "classes.json"  # in a folder of a domain, where nothing else is said


@dataclasses.dataclass(frozen=True)
class Domain:
    """Where the images of a domain are.

    Attributes:
      name: "source", "target" or "evaluation".
      place: folder of records, or several with commas between them; or of pictures, those in its folder images if it
        has one.
      labels: folder of the pictures' label PNGs; empty: the folder labels in `place`.
      classes: class file that says what the labels' ids mean, or the name of one of the library's; empty: classes.json
        in `place`.
    """

    name: str
    place: str
    labels: str = ""
    classes: str = ""

    @property
    def are_records(self) -> bool:
        """Whether they are converted already."""
        return all(files.exists(os.path.join(folder, MANIFEST_NAME)) for folder in manifest.folders(self.place))

    def class_file(self) -> str:
        """Returns the path of the class file.

        Raises:
          InputError: there is none.
        """
        path = shipped.find(self.classes, shipped.CLASSES) if self.classes else os.path.join(self.place, CLASSES)
        if not files.exists(path):
            raise InputError(
                f"{path} does not exist: give classes, a class file that says what the ids in the {self.name}'s labels "
                f"mean, or one of {', '.join(shipped.names(shipped.CLASSES))}"
            )
        return path

    def conversion(self, records: str) -> Job:
        """Returns the job that converts the pictures to a folder of records.

        Raises:
          InputError: there are none, or labels are missing.
        """
        if not files.is_folder(self.place):
            raise InputError(f"{self.name}: {self.place} is no folder: give one of pictures or of records")
        images = os.path.join(self.place, IMAGES)
        images = images if files.is_folder(images) else self.place
        folders, classes = [images], ""
        if self.name != "target":
            labels = self.labels or os.path.join(self.place, LABELS)
            if not files.is_folder(labels):
                argument = "labels" if self.name == "source" else f"{self.name}_labels"
                raise InputError(
                    f"{self.name}: {labels} is no folder: give {argument}, the folder of the label PNGs, or put the "
                    f"pictures of {images} and their labels into "
                    f"{os.path.join(self.place, '{' + IMAGES + ',' + LABELS + '}')}"
                )
            folders, classes = [images, labels], self.class_file()
        options = [f"--{kind}={folder}" for kind, folder in zip((IMAGES, LABELS), folders, strict=False)]
        options += [f"--classes={classes}"] if classes else []
        sizes = [[name, files.size(os.path.join(folder, name))] for folder in folders for name in files.walk(folder)]
        content = [sizes, files.sha256(classes) if classes else ""]
        return Job(
            f"{self.name}/convert",
            "make_tfrecords",
            ("--dataset=folder", *options, f"--output={records}"),
            records,
            once=True,
            settings=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
            kind="convert",
            size=float(len(sizes)),
        )


class AdaptationJobs:
    """The jobs that adapt a segmenter.

    Attributes:
      jobs: in order.
      iterations: of each training, by the name of its stage.
      run: the directory of the last stage's run.
    """

    def __init__(
        self,
        path: str,
        source: Domain,
        target: Domain,
        evaluation: Domain | None,
        folder: str,
        settings: Mapping[str, Any] | None = None,
    ):
        """Makes the jobs.

        Args:
          path: of the experiment file, or its name; its stages are trained, on other records than it names.
          source: labelled.
          target: whose labels, if there are any, are not read.
          evaluation: labelled images of the target that the stages are scored on; None: they are not scored.
          folder: gets records, runs, and what the jobs print.
          settings: other values for fields of the configs of all stages that have them.

        Raises:
          InputError: there is no such experiment, its stages cannot work with the settings, or images or labels are
            missing.
        """
        self._folder = folder
        self.jobs: list[Job] = []
        domains = [source, target, *([evaluation] if evaluation else [])]
        records = {domain.name: self._records(domain) for domain in domains}
        conversions = tuple(job.name for job in self.jobs)
        runs = os.path.join(folder, "runs")
        of_all = {
            "data.label_space": self._label_space(source),
            "data.evaluation.records": records.get("evaluation", ""),
        }
        trainings = list(_trainings(path, records))
        experiment = Experiment(path, trainings, {**(settings or {}), **of_all})
        seed = next(experiment.stage_configs()).seed
        for name in experiment.trainings:
            pseudo_labels = os.path.join(folder, "records", f"{name}_pseudo_labels")
            for job in experiment.training_jobs(name, runs, pseudo_labels, "", seed):
                self.jobs.append(dataclasses.replace(job, after=(*conversions, *job.after)))
        stages.check_files(experiment, [], made=list(records.values()))
        self.iterations = {name: experiment.iterations(name) for name in experiment.trainings}
        self.run = os.path.join(runs, trainings[-1].name)

    def _records(self, domain: Domain) -> str:
        """Returns the folder of a domain's records, for which there is a job if it is one of pictures."""
        if domain.are_records:
            return domain.place
        records = os.path.join(self._folder, "records", domain.name)
        self.jobs.append(domain.conversion(records))
        return records

    def _label_space(self, source: Domain) -> str:
        """Returns what `config.data.label_space` is: the class file, or one that is written of the source's records."""
        if source.classes or not source.are_records:
            return source.class_file()
        space = Manifest.load(source.place).label_space
        if space is None:
            raise InputError(f"source: the records in {source.place} have no labels: convert them with --labels")
        return space.name if LABEL_SPACES.get(space.name) == space else self._written(space)

    def _written(self, space: LabelSpace) -> str:
        values = space.to_json()
        classes = [entry | {"ids": [place]} for place, entry in enumerate(values["classes"])]
        path = os.path.join(self._folder, CLASSES)
        files.make_folder(self._folder)
        files.write_atomically(path, files.json_text(values | {"classes": classes}, indent=1).encode())
        return path


def _trainings(path: str, records: Mapping[str, str]) -> Iterator[Training]:
    """Yields a training of each stage of an experiment, on the records in place of those that its file names."""
    experiment = Experiment(path)
    for name, training in experiment.trainings.items():
        config = experiment.stage_config(name)
        expand_home(config)
        stage = experiment.file.stage(name)
        named = {"source": config.data.source.records, "target": config.data.target.records and not stage.pseudo_labels}
        overrides = {f"data.{domain}.records": records[domain] for domain, there in named.items() if there}
        unlabelled = records["target"] if stage.pseudo_labels else ""
        yield dataclasses.replace(training, unlabelled=unlabelled, overrides=overrides)
