r"""Measures training steps of a config on made-up images: time, memory, operations, bytes, shares of the ceilings.

    fada-tf benchmark_train --config=gta5_r101:adversarial --output=adversarial.json \
        --config.training.batch_size=1 --config.data.source.height=256 --config.data.source.width=512 \
        --config.data.target.height=256 --config.data.target.width=512
    fada-tf benchmark_train --config=gta5_r101:adversarial --sweep=pixels --output=pixels.json

The input pipeline and the logs are left out; fada-tf benchmark_input measures the former. A sweep measures several
sizes, each in a process of its own, and draws time and memory against them into a PNG beside the JSON.
"""

import json
import os
import subprocess
import sys

from absl import flags, logging

from fada_tf import cli, command, forms
from fada_tf.errors import InputError

_CONFIG, _SET = cli.define_config("Experiment file, with its stage: configs/NAME.py:STAGE.")
_WARMUP = flags.DEFINE_integer("warmup", 1, "Steps after the first that do not count.", lower_bound=0)
_STEPS = flags.DEFINE_integer("steps", 5, "Steps that count.", lower_bound=1)
_CLASSES = flags.DEFINE_integer("classes", 0, "Number of classes; 0: those of the config.", lower_bound=0)
_REPLICAS = flags.DEFINE_integer("replicas", 1, "Logical CPUs to mirror over; ignored on GPUs.", lower_bound=1)
_SWEEP = flags.DEFINE_enum(
    "sweep", "nothing", ["nothing", "pixels", "batch", "classes", "replicas"], "What to vary: 1, 2, 4 and 8 times."
)
_PROFILE = flags.DEFINE_bool(
    "profile", False, "Run one more step, and say how long parts and types of operations took."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write; default: the result is printed alone.")

_FACTORS = (1, 2, 4, 8)


def main(argv):
    """Measures one config, or sweeps."""
    del argv
    from fada_tf.experiment_file import read_config

    config = read_config(_CONFIG.value, _SET.value)
    if _SWEEP.value != "nothing":
        results = [_measured_apart(config, factor) for factor in _FACTORS]
        if _OUTPUT.value:
            _draw(results, os.path.splitext(_OUTPUT.value)[0] + ".png")
    else:
        with forms.chosen(config.training.convolutions):
            results = _measured(config)
    text = json.dumps(results, indent=2) + "\n"
    sys.stdout.write(text)
    if _OUTPUT.value:
        from fada_tf.data import files

        files.write_atomically(_OUTPUT.value, text.encode())


def _measured(config) -> dict:
    import tensorflow as tf

    from fada_tf import benchmark
    from fada_tf.data import labels
    from fada_tf.devices import make_strategy, set_channels_order, set_precision
    from fada_tf.training import made_up

    logging.set_verbosity(logging.WARNING)  # MirroredStrategy names every gradient that it adds up
    if _REPLICAS.value > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * _REPLICAS.value)
    set_precision(config.training.precision)
    set_channels_order(config.training.channels_order)
    strategy = make_strategy(all_reduce_packs=config.training.all_reduce_packs)
    classes = _CLASSES.value or labels.label_space(config.data.label_space).num_classes
    with strategy.scope():
        method = made_up.build_method(config, classes)
    segmenter = method.segmenter
    batches = made_up.batches(config, classes, config.training.batch_size // strategy.num_replicas_in_sync)
    names = {segmenter.feature_extractor.name: "feature extractor", "classifier": "classifier"}
    names |= {network.name: name for name, network in method.networks.items() if network is not segmenter}
    names |= {optimizer.name: "optimizers" for optimizer in method.optimizers.values()}
    names |= dict.fromkeys(("row_blocks", "while"), "softmaxes and losses")
    step = made_up.step_function(method, batches, strategy)
    if config.training.xla:
        # What is compiled cannot be counted any more.
        parts = benchmark.count_parts(step.get_concrete_function(), names)
        method.use_xla()
        step = made_up.step_function(method, batches, strategy)
    seconds = benchmark.measure(step, warmup=_WARMUP.value, repeats=_STEPS.value)
    if not config.training.xla:
        parts = benchmark.count_parts(step.get_concrete_function(), names)
    results = {
        "config": config.name,
        "sizes": {name: batches[name]["label"].shape.as_list()[1:] for name in method.domains},
        "batch_size": config.training.batch_size,
        "replicas": strategy.num_replicas_in_sync,
        "classes": classes,
        "precision": config.training.precision,
        "recompute": config.model.recompute,
        "convolutions": config.training.convolutions,
        "xla": config.training.xla,
    } | benchmark.summary(seconds, parts, config.training.precision)
    if _PROFILE.value:
        keys = {
            "seconds_by_part": lambda name, kind: benchmark.part_of(name, kind, names),
            "seconds_by_type": lambda name, kind: kind,
        }
        results |= benchmark.seconds_by(step, keys)
    return results


def _measured_apart(config, factor: int) -> dict:
    """Measures `factor` times the pixels, images or classes in another process, whose memory is its own."""
    domains = [name for name in ("source", "target") if getattr(config.data, name).records]
    changes = {
        "pixels": [f"--config.data.{name}.width={factor * getattr(config.data, name).width}" for name in domains],
        "batch": [f"--config.training.batch_size={factor * config.training.batch_size}"],
        "classes": [f"--classes={factor * (_CLASSES.value or 19)}"],
        "replicas": [f"--replicas={factor}", f"--config.training.batch_size={factor * config.training.batch_size}"],
    }
    alone = ["--sweep=nothing", "--output="]  # the last value of an option counts
    line = command.line("benchmark_train", *sys.argv[1:], *alone, *changes[_SWEEP.value])
    run = subprocess.run(line, env=command.environment(), stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        raise InputError(f"--sweep={_SWEEP.value} stopped at {factor} times the size, see above")
    return json.loads(run.stdout) | {"factor": factor}


def _draw(results: list[dict], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    factors = [result["factor"] for result in results]
    series = {
        "seconds a step, median": [result["seconds"]["median"] for result in results],
        "peak memory, GB": [result["peak_bytes"] / 1e9 for result in results],
    }
    for axis, (name, values) in zip(axes, series.items(), strict=True):
        axis.plot(factors, values, "o-")
        axis.set(xlabel=f"{_SWEEP.value}, times those of the first", ylabel=name, ylim=(0, None), xticks=factors)
        axis.grid(alpha=0.3)
    figure.suptitle(results[0]["config"])
    figure.savefig(path)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    cli.run(main)
