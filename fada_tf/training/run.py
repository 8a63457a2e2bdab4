"""One training run, from a config to checkpoints."""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TextIO

import keras
import orbit
import tensorflow as tf
from absl import logging

from fada_tf import forms
from fada_tf.config import Config
from fada_tf.config_fields import trained_domains
from fada_tf.data import files, labels
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.data.positions import Positions
from fada_tf.devices import (
    device_names,
    make_strategy,
    set_channels_order,
    set_precision,
    wait_for_all,
    workers,
)
from fada_tf.errors import DivergenceError, InputError, Stopped
from fada_tf.evaluation.evaluator import BetterOf, Evaluator
from fada_tf.evaluation.views import Views
from fada_tf.methods.base import build_method
from fada_tf.models.segmenter import Segmenter, build_segmenter, check_size
from fada_tf.models.weights import load_initial_weights
from fada_tf.runs import layout, provenance
from fada_tf.runs.checkpoint import restore_segmenter
from fada_tf.runs.directory import check_run_directory, owned, write_run_directory
from fada_tf.runs.literal_paths import literal
from fada_tf.runs.metrics import MetricsFile
from fada_tf.training import actions, datasets, failures
from fada_tf.training.checkpoints import has_checkpoint, make_checkpoint, restore_newest
from fada_tf.training.signals import StopRequest
from fada_tf.training.trainer import Trainer
from fada_tf.validation import validate
from fada_tf.windows import Windows


def train(config: Config, directory: str, *, detect_anomaly: bool = False) -> None:
    """Trains one stage; a run directory with checkpoints continues where it stopped.

    Args:
      config: of the run.
      directory: the run directory; made if need be.
      detect_anomaly: check every tensor, several times slower, and name the first that is infinite or NaN.

    Raises:
      InputError: the config cannot work, or does not fit the data, the initial weights, the run directory or
        `detect_anomaly`; or files cannot be read or written any more.
      DivergenceError: a loss or gradient became infinite or NaN; divergence.json says with what.
      Stopped: SIGTERM, SIGINT or SIGHUP came; a checkpoint is written.
    """
    validate(config)
    config = datasets.decided(config)
    if detect_anomaly:
        _check_anomaly_detection(config)
    with _process_settings(config, detect_anomaly=detect_anomaly):
        _begin(config, directory)


@contextlib.contextmanager
def _process_settings(config: Config, *, detect_anomaly: bool) -> Iterator[None]:
    """Sets what a process has one of, and at the end, however it comes, sets back what others in it may go by."""
    policy, verbosity = keras.config.dtype_policy(), logging.get_verbosity()
    layout = tf.config.optimizer.get_experimental_options().get("layout_optimizer", True)
    try:
        set_precision(config.training.precision)
        set_channels_order(config.training.channels_order)
        if detect_anomaly:
            tf.debugging.enable_check_numerics()
        if config.training.deterministic:
            tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(config.seed)
        with forms.chosen(config.training.convolutions):
            yield
    finally:
        keras.config.set_dtype_policy(policy)
        tf.config.optimizer.set_experimental_options({"layout_optimizer": layout})
        logging.set_verbosity(verbosity)
        if detect_anomaly:
            tf.debugging.disable_check_numerics()


def _begin(config: Config, directory: str) -> None:
    label_space = labels.label_space(config.data.label_space)
    strategy = make_strategy(
        memory_growth=config.training.memory_growth, all_reduce_packs=config.training.all_reduce_packs
    )
    _check_batch(config, strategy)
    _check_xla(config, strategy)
    check_run_directory(directory, config)
    _check_sizes(config)

    with strategy.scope():
        model = config.model
        segmenter = build_segmenter(
            model.backbone, label_space.num_classes, model.batch_norm, config.seed,
            head=model.head, feature_stride=model.feature_stride, recompute=model.recompute,
            trained_part=model.trainable, lora_rank=model.lora_rank,
        )  # fmt: skip
        if not has_checkpoint(os.path.join(directory, layout.CHECKPOINTS)):
            _initialize(segmenter, model.initial_weights)
        method = build_method(config, segmenter)
    if config.training.xla:
        method.use_xla()
    # Both say what is wrong with the data, before anything is written.
    datasets.train_dataset(config, method, label_space, 0)
    if config.data.evaluation.records:
        datasets.evaluation_dataset(config, label_space)
    with StopRequest() as stop:
        trainer = Trainer(method, strategy, config.training.batch_size, stop)
        if workers(strategy)[0] == 0:
            with owned(directory):
                for line in check_run_directory(directory, config):
                    actions.tell(sys.stderr, line)
                provenance.record(directory, config)
                write_run_directory(directory, config, label_space)
                actions.tell(sys.stdout, f"devices: {device_names(strategy)}")
                _train(config, directory, trainer, label_space, sys.stdout)
                look = f"fada-tf predict --checkpoint={directory} --images=DIR --output=DIR"
                actions.tell(sys.stdout, f"written: {directory}; next: {look}")
        else:
            # All workers do the same, so that none waits in vain; the first one's files and lines are kept.
            with tempfile.TemporaryDirectory() as scratch, open(os.devnull, "w") as nowhere:
                wait_for_all(strategy)  # until the first one has restored, and mended, what was saved
                files.copy_folder(directory, scratch, without=(layout.EVENTS, layout.LOCK))
                _train(config, scratch, trainer, label_space, nowhere)


def _train(config: Config, directory: str, trainer: Trainer, label_space: LabelSpace, stream: TextIO) -> None:
    # orbit reports at length, on standard output and in the log; the actions say the same in one line.
    logging.set_verbosity(logging.WARNING)
    index, count = workers(trainer.strategy)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            positions = Positions.load(os.path.join(directory, layout.POSITIONS))
            metrics, controller = _controller(config, directory, trainer, label_space, positions, stream)
            if count > 1 and index == 0:
                wait_for_all(trainer.strategy)
            step, replicas = int(trainer.step.numpy()), trainer.strategy.num_replicas_in_sync
            if step:
                actions.tell(stream, f"going on from iteration {step}")
            trainer.stream = stream
            trainer.train_dataset = trainer.strategy.distribute_datasets_from_function(
                lambda context: datasets.train_dataset(
                    config, trainer.method, label_space, step, replicas, (index, count), positions
                ),
                tf.distribute.InputOptions(experimental_fetch_to_device=config.training.prefetch_to_device),
            )
            _loop(config, trainer, controller, metrics, alone=count == 1)
        except Stopped as stopped:
            controller.save_checkpoint()
            iteration = int(trainer.step.numpy())
            raise Stopped(
                f"{stopped} at iteration {iteration}, with a checkpoint: the same command continues"
            ) from stopped
        except DivergenceError as error:
            step = int(trainer.step.numpy())
            names = datasets.image_names(config, trainer.method, label_space, step - 1)
            path = failures.save_divergence(directory, step, trainer.latest, trainer.learning_rates, names)
            advice = "a new run with a lower learning rate may avoid it"
            if _can_detect_anomalies(config):
                command = "the same command with --detect_anomaly goes on from the last checkpoint"
                advice = f"{command} and names the first such tensor, {advice}"
            raise DivergenceError(f"{error}: {path} lists the batch; {advice}") from error
        except (OSError, tf.errors.OpError, UnicodeDecodeError, MemoryError) as error:
            raise failures.explain(error, directory) from error


def _loop(config: Config, trainer: Trainer, controller: orbit.Controller, metrics: MetricsFile, *, alone: bool) -> None:
    """Trains and evaluates in turn; where it begins depends on nothing but the checkpoint and metrics.jsonl."""
    iterations = config.training.iterations
    interval = (config.training.evaluation_interval or iterations) if controller.evaluator else iterations
    while True:
        step = int(trainer.step.numpy())
        due = controller.evaluator and step and (step % interval == 0 or step == iterations)
        if due and step not in metrics.mean_iou:
            controller.evaluate()
        if step >= iterations:
            return
        if alone:  # of many workers, all must leave at the same iteration, as the compiled loop does
            trainer.stop.check()
        controller.train(min((step // interval + 1) * interval, iterations))


def _initialize(segmenter: Segmenter, initial_weights: str) -> None:
    if files.is_folder(initial_weights) or files.exists(initial_weights + ".index"):
        restore_segmenter(segmenter, initial_weights)
    else:
        load_initial_weights(segmenter, initial_weights)


def _check_batch(config: Config, strategy: tf.distribute.Strategy) -> None:
    parts = strategy.num_replicas_in_sync * config.training.accumulation_steps
    if config.training.batch_size % parts:
        raise InputError(
            f"config.training.batch_size {config.training.batch_size} does not divide over "
            f"{strategy.num_replicas_in_sync} devices and {config.training.accumulation_steps} accumulation steps: "
            f"choose a multiple of {parts}"
        )


def _check_sizes(config: Config) -> None:
    for name, domain in trained_domains(config).items():
        check_size(config.model.backbone, domain.height, domain.width, f"config.data.{name}")
    evaluation = config.data.evaluation
    if evaluation.records:
        views = Views(windows=Windows.of(evaluation))
        views.check(config.model.backbone, evaluation.height, evaluation.width)


def _check_anomaly_detection(config: Config) -> None:
    if not _can_detect_anomalies(config):
        raise InputError(
            f"--detect_anomaly works neither with config.training.precision 'mixed_float16', which overflows now and "
            f"then and goes on, nor with config.training.xla: they are {config.training.precision!r} and "
            f"{config.training.xla}; begin a run in float32 or mixed_bfloat16 without XLA"
        )


def _can_detect_anomalies(config: Config) -> bool:
    return config.training.precision != "mixed_float16" and not config.training.xla


def _check_xla(config: Config, strategy: tf.distribute.Strategy) -> None:
    if config.training.xla and config.model.batch_norm == "synchronized" and strategy.num_replicas_in_sync > 1:
        raise InputError(
            "config.training.xla is True, and XLA cannot synchronize batch norm over "
            f"{strategy.num_replicas_in_sync} devices: set it to False, or config.model.batch_norm to 'frozen'"
        )


def _controller(
    config: Config, directory: str, trainer: Trainer, label_space: LabelSpace, positions: Positions, stream: TextIO
) -> tuple[MetricsFile, orbit.Controller]:
    """Returns metrics.jsonl and orbit's outer loop, both where the newest checkpoint left the run."""
    training, method, step, strategy = config.training, trainer.method, trainer.step, trainer.strategy
    scored = {name: method.networks[network] for name, network in config.method.scored.items()}
    checkpoint = make_checkpoint(method, step, trainer.progress)
    folder = os.path.join(directory, layout.CHECKPOINTS)
    # orbit restores too, but knows only a checkpoint that is whole, and the actions need to know the iteration.
    restore_newest(checkpoint, folder)
    manager = tf.train.CheckpointManager(
        checkpoint,
        os.path.join(literal(directory), layout.CHECKPOINTS),
        max_to_keep=training.keep_checkpoints,
        step_counter=step,
        checkpoint_interval=training.checkpoint_interval,
    )
    evaluator, evaluation_actions = None, []
    views = Views(windows=Windows.of(config.data.evaluation))
    metrics = MetricsFile(directory, int(step.numpy()))
    if config.data.evaluation.records:
        dataset = datasets.evaluation_dataset(config, label_space, strategy.num_replicas_in_sync)
        alone = workers(strategy)[1] == 1
        progress = (lambda images: trainer.stop.check()) if alone else (lambda images: None)
        unlabelled = Manifest.load(config.data.evaluation.records).unlabelled(label_space)
        if unlabelled:
            known = f"its labels do not know {', '.join(unlabelled)}: the mean IoU is of the others"
            actions.tell(stream, f"evaluation: {known}")
        evaluator = BetterOf(
            {
                name: Evaluator(segmenter, dataset, label_space.names, strategy, progress, views, unlabelled)
                for name, segmenter in scored.items()
            }
        )
        best = tf.train.CheckpointManager(checkpoint, os.path.join(literal(directory), layout.BEST), max_to_keep=1)
        evaluation_actions = [actions.LogEvaluation(step, metrics, best, stream)]
    train_actions = [
        actions.LogTraining(step, training.iterations, metrics, stream),
        actions.WarnOfLosses(step, trainer.method.watchers(), sys.stderr if stream is sys.stdout else stream),
        lambda output: positions.save(os.path.join(directory, layout.POSITIONS)),
    ]
    if training.picture_interval:
        pictures = datasets.picture_batches(config, method, label_space)
        interval = training.picture_interval
        shown = pictures, label_space, directory, views
        train_actions.append(actions.WritePictures(method, scored, step, interval, *shown))
    controller = orbit.Controller(
        global_step=step,
        trainer=trainer,
        evaluator=evaluator,
        strategy=strategy,
        train_actions=train_actions,
        eval_actions=evaluation_actions,
        # Log lines of a run that resumes anywhere are those of one that was never stopped.
        steps_per_loop=lambda step: training.steps_per_loop - step % training.steps_per_loop,
        checkpoint_manager=manager,
        summary_dir=os.path.join(directory, layout.EVENTS, "train"),
        eval_summary_dir=os.path.join(directory, layout.EVENTS, "evaluation"),
    )
    return metrics, controller
