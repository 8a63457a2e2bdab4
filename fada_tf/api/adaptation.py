"""`fada_tf.adapt`: from pictures to a segmenter that is adapted to them, in one call that may be given again."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from absl import logging

from fada_tf.experiments import jobs
from fada_tf.experiments.adaptation import AdaptationJobs, Domain
from fada_tf.experiments.jobs import Job
from fada_tf.runs.metrics import read_metrics

if TYPE_CHECKING:
    from fada_tf.api.loading import TrainedSegmenter

Path = str | os.PathLike
OnProgress = Callable[[str, int, int, dict[str, float]], object]


def adapt(
    source: Path,
    target: Path,
    *,
    config: Path = "demo",
    labels: Path = "",
    classes: Path = "",
    evaluation: Path = "",
    evaluation_labels: Path = "",
    settings: Mapping[str, Any] | None = None,
    run_dir: Path = "runs/adapted",
    on_progress: OnProgress | None = None,
) -> "TrainedSegmenter":
    """Adapts a segmenter to photos: converts the pictures and trains all stages of an experiment on them.

    It is what `fada-tf make_tfrecords`, `make_pseudo_labels` and `train` do, each in a process of its own, so that none
    leaves memory behind. Interrupt it whenever you like (Ctrl-C, the stop button of a notebook): what is trained then
    writes a checkpoint, and the same call goes on from there. What is done is not done again.

    Args:
      source: folder of labelled pictures, or of records of them that `fada-tf make_tfrecords` wrote. In a folder with
        images/ and labels/ these are the two parts.
      target: folder of photos that nobody needs to have labelled, or of records of them.
      config: experiment file, or the name of one of the library's, whose stages are trained; the records and classes
        that it names are not used.
      labels: folder of the label PNGs of the source's pictures, of the same names; empty: source/labels.
      classes: class file that says what the ids in labels mean, or the name of one of the library's, such as
        "camvid11"; empty: source/classes.json, or the classes of the records.
      evaluation: folder of labelled photos of the target, or of records of them, on which the stages are scored;
        empty: they are not. In a folder with images/ and labels/ these are the two parts.
      evaluation_labels: folder of the label PNGs of these photos, of the same names; empty: evaluation/labels.
      settings: other values for fields of the config, by name, such as {"training.iterations": 1000}; stages that have
        no such field stay as they are.
      run_dir: folder for records, runs and logs; for other pictures or settings, choose another one.
      on_progress: called in the course of every training with the name of the stage, iteration, iterations of the
        stage, and losses, speed or scores by name, as metrics.jsonl has them; None: a progress bar is shown.

    Returns:
      What `fada_tf.load` returns, of the last stage.

    Raises:
      InputError: pictures, labels or classes are missing, the experiment cannot work, a part of the work failed (the
        message has its last words and names its log), or `run_dir` is of other pictures or settings.
      KeyboardInterrupt: it was interrupted, with nothing lost.

    Example:
      >>> street = fada_tf.adapt(  # doctest: +SKIP
      ...     "renders", "photos", classes="camvid11", run_dir="runs/photos", settings={"training.iterations": 20}
      ... )
      >>> street.segment("photos/0001.jpg").save("0001.png")  # doctest: +SKIP
    """
    place = {"labels": _text(labels), "classes": _text(classes)}
    scored = Domain("evaluation", _text(evaluation), _text(evaluation_labels), place["classes"]) if evaluation else None
    folder = _text(run_dir)
    todo = AdaptationJobs(
        _text(config),
        Domain("source", _text(source), **place),
        Domain("target", _text(target)),
        scored,
        folder,
        settings,
    )
    told = _Told(todo, on_progress) if on_progress else None
    try:
        jobs.run(todo.jobs, os.path.join(folder, "jobs"), finished=told or (lambda job: None), running=told)
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(f"the same call goes on from what is in {folder}") from interrupt
    _warn_of_a_worse_end(todo)
    from fada_tf.api.loading import load  # which starts TensorFlow: only now, when no other process needs its devices

    return load(todo.run)


def _warn_of_a_worse_end(todo: AdaptationJobs) -> None:
    """Warns where the last stage ended with a lower mean IoU than one before it."""
    scores: dict[str, float] = {}
    for job in todo.jobs:
        found = [line["mean_iou"] for line in read_metrics(job.output) if line.get("mean_iou") is not None]
        if job.program == "train" and found:
            scores[job.output] = found[-1]
    best, last = max(scores, key=lambda run: scores[run], default=todo.run), todo.run
    if scores.get(last, 1.0) < scores.get(best, 0.0):
        listed = ", ".join(f"{os.path.basename(run)} {100 * score:.1f}" for run, score in scores.items())
        logging.warning("mean IoU by stage, %%: %s; the last one is returned, fada_tf.load(%r) is better", listed, best)


class _Told:
    """Tells `on_progress` what a run's metrics have that it was not told."""

    def __init__(self, todo: AdaptationJobs, on_progress: OnProgress):
        self._iterations, self._on_progress = todo.iterations, on_progress
        runs = [job.output for job in todo.jobs if job.program == "train"]
        self._known = {run: {_key(line) for line in read_metrics(run)} for run in runs}

    def __call__(self, job: Job) -> None:
        """Looks at the run of a job, if it is one that trains."""
        for line in read_metrics(job.output) if job.output in self._known else ():
            if _key(line) not in self._known[job.output]:
                self._known[job.output].add(_key(line))
                metrics = {name: value for name, value in line.items() if name not in ("kind", "step")}
                stage = os.path.basename(job.output)
                self._on_progress(stage, line["step"], self._iterations[stage], metrics)


def _key(line: dict) -> tuple[str, int]:
    return line["kind"], line["step"]


def _text(path: Path) -> str:
    return os.path.expanduser(os.fspath(path))
