"""What a machine is checked for before the first training: devices, their messages, their numbers, their speed."""

import collections
import dataclasses
import functools
import importlib.metadata
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from fada_tf import benchmark, forms, machine
from fada_tf.config import Config, method_settings
from fada_tf.data import conversion, labels, pipeline
from fada_tf.data.datasets import cityscapes
from fada_tf.data.datasets.base import DataSet, Pair
from fada_tf.data.transforms import Augmentation
from fada_tf.devices import device_names, make_strategy, set_precision
from fada_tf.methods.base import Method
from fada_tf.training import made_up

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

# Largest relative distance from the CPU's float32: seven to ten times what a sound CPU and GPU showed, 0.0015,
# 0.0016 and 0.0054. On GPUs float32 rounds the operands of products to 10 bits (TF32), as float16 does.
_TOLERANCES = {"float32": 0.01, "mixed_float16": 0.015, "mixed_bfloat16": 0.05}
_CHECKED_BACKBONES = ("tiny", "resnet50")
_CHECKED_SIZE = (64, 128)  # pixels
_CLASSES = 19
_REDUCED_VALUES = 1 << 20  # 4 MB: enough for the way that gradients take
_MADE_UP_RECORDS = 16
_INPUT_SECONDS = 4.0
_GRACE = 30.0  # seconds after the limit, for a check that takes longer than all before it
_PACKAGES = ("fada_tf", "tensorflow", "keras", "numpy", "tf-models-official")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
      what: what was looked at.
      result: what was found, for people.
      figures: the same as numbers and texts, for the JSON file.
      wrong: whether the machine cannot be relied on.
      measured: whether there was time for it.
    """

    what: str
    result: str
    figures: dict
    wrong: bool = False
    measured: bool = True


def check_all(precision: str) -> Iterator[tuple[str, Callable[[], Finding]]]:
    """Yields all checks, what users need most first, each as its title and a function that makes it.

    Args:
      precision: that speed is measured in; "automatic": mixed_bfloat16 on GPUs, float32 on CPUs.
    """
    yield "versions", _versions
    strategy = functools.cache(make_strategy)  # devices that cannot be started are a finding, too
    yield "devices", lambda: _devices(strategy())
    gpus = tf.config.list_physical_devices("GPU")
    if precision == "automatic":
        precision = "mixed_bfloat16" if gpus else "float32"
    yield "all-reduce", lambda: _all_reduce(strategy())
    numbers = _number_checks(gpus)
    yield from numbers[False, "float32"]
    size = (512, 1024) if gpus else (128, 256)
    yield "speed of the input", functools.partial(_input_speed, size)
    yield "speed of inference", functools.partial(_inference_speed, size, precision)
    yield "speed of training", lambda: _training_speed(size, precision, strategy())
    yield "memory", _memory
    yield from numbers[False, "mixed_bfloat16"] + numbers[False, "mixed_float16"]
    for checked in PRECISIONS:
        yield from numbers[True, checked]


def _number_checks(gpus: list) -> dict[tuple[bool, str], list[tuple[str, Callable[[], Finding]]]]:
    """Returns the checks of numbers by XLA and precision, one a backbone; they share models and the CPU's numbers."""
    device = "GPU:0" if gpus else "CPU:0"
    checks = collections.defaultdict(list)
    for backbone in _CHECKED_BACKBONES:
        on_cpu = functools.cache(functools.partial(_build, backbone, "float32", "CPU:0"))
        reference = functools.cache(functools.partial(_numbers, on_cpu, "CPU:0", xla=False))
        for checked in PRECISIONS:
            shares = gpus or checked != "float32"  # not the model that the reference was computed with
            method = functools.cache(functools.partial(_build, backbone, checked, device)) if shares else on_cpu
            for xla in (False, True):
                if shares or xla:
                    numbers = functools.partial(_numbers, method, device, xla=xla)
                    name = f"{backbone}, {checked}{', XLA' if xla else ''}"
                    compare = functools.partial(_compare, name, reference, numbers, _TOLERANCES[checked])
                    checks[xla, checked].append((name, compare))
    return checks


def make(
    checks: Iterable[tuple[str, Callable[[], Finding]]], stream: TextIO, limit: int, spent: float = 0.0
) -> list[Finding]:
    """Makes the checks, also where one before failed, and writes a line of each.

    Args:
      checks: see `check_all`.
      stream: takes the lines.
      limit: seconds; a check is not made where they would not be enough if it took as long as the longest so far. One
        that is not over 30 s after the limit is given up, and goes on in a thread until the process ends.
      spent: seconds of the limit that are over.
    """
    findings, longest, start = [], 0.0, time.perf_counter() - spent
    for what, check in checks:
        begun = time.perf_counter()
        if begun - start + longest > limit:
            text = f"not measured: no time left within --limit={limit}: give --limit={3 * limit}"
            finding = Finding(what, text, {}, measured=False)
        else:
            finding = _made_within(start + limit + _GRACE - begun, what, check)
            longest = max(longest, time.perf_counter() - begun)
        findings.append(finding)
        sign = "WRONG" if finding.wrong else "ok" if finding.measured else "-"
        stream.write(f"{sign:<6} {finding.what:<40} {finding.result}\n")
        stream.flush()
    return findings


def _made_within(seconds: float, what: str, check: Callable[[], Finding]) -> Finding:
    findings: list[Finding] = []
    thread = threading.Thread(target=lambda: findings.append(_made(what, check)), daemon=True)
    thread.start()
    thread.join(seconds)
    return findings[0] if findings else Finding(what, f"not over after {seconds:.0f} s", {}, measured=False)


def _made(what: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # of TensorFlow, XLA, CUDA: whatever it is, the other checks tell more
        lines = str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__]
        return Finding(what, f"failed: {lines[0][:200]}", {"error": str(error)}, wrong=True)


def driver() -> list[dict[str, str]]:
    """Returns name, total memory in MiB and driver of every NVIDIA GPU that the driver knows; empty without one."""
    fields = ("name", "memory.total", "driver_version")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    return [dict(zip(fields, map(str.strip, line.split(",")), strict=True)) for line in lines]


def _versions() -> Finding:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    build = tf.sysconfig.get_build_info()
    versions |= {key: build[key] for key in ("cuda_version", "cudnn_version") if build.get(key)}
    return Finding("versions", ", ".join(f"{name} {value}" for name, value in versions.items()), versions)


def _devices(strategy: tf.distribute.Strategy) -> Finding:
    cards, cores, devices = driver(), machine.available_cores(), device_names(strategy)
    figures = {"devices": devices, "driver": cards, "cores": cores, "machine": platform.machine()}
    if (cards or machine.has_nvidia_driver()) and not tf.config.list_physical_devices("GPU"):
        card = f"{cards[0]['name']} with driver {cards[0]['driver_version']}" if cards else "an NVIDIA driver"
        text = (
            f"{card} is there, but TensorFlow sees no GPU: pip install -e '.[gpu]' brings the CUDA libraries that it "
            "looks for"
        )
        return Finding("devices", text, figures, wrong=True)
    about = f", driver {cards[0]['driver_version']}" if cards else ""
    return Finding("devices", f"{devices}{about}, {cores} cores", figures)


def _all_reduce(strategy: tf.distribute.Strategy) -> Finding:
    """Adds up 1, 2, ... n of n replicas."""

    def values():
        context = tf.distribute.get_replica_context()
        numbers = tf.fill([_REDUCED_VALUES], tf.cast(context.replica_id_in_sync_group + 1, tf.float32))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, numbers)

    replicas = strategy.num_replicas_in_sync
    results = strategy.experimental_local_results(tf.function(lambda: strategy.run(values))())
    sums = sorted({float(value) for result in results for value in np.unique(result)})
    expected = replicas * (replicas + 1) / 2
    text = f"{replicas} replica{'s' * (replicas > 1)}: sum {', '.join(f'{value:g}' for value in sums)}"
    if sums != [expected]:
        text += f", and {expected:g} is right: set NCCL_DEBUG=INFO and look at what it says of the links"
    return Finding("all-reduce", text, {"replicas": replicas, "sums": sums}, wrong=sums != [expected])


def _build(backbone: str, precision: str, device: str) -> Method:
    """Builds FADA with equal weights on every device."""
    policy = keras.config.dtype_policy()
    set_precision(precision)
    try:
        with tf.device(device):
            return made_up.build_method(_config(backbone, _CHECKED_SIZE), _CLASSES)
    finally:
        keras.config.set_dtype_policy(policy)


def _config(backbone: str, size: tuple[int, int]) -> Config:
    config = Config(method=method_settings("fada"))
    config.model.backbone = backbone
    for domain in (config.data.source, config.data.target):
        domain.records, (domain.height, domain.width) = "made up", size
    return config


def _numbers(build: Callable[[], Method], device: str, *, xla: bool) -> dict[str, np.ndarray]:
    """Computes a forward pass and a step, whose update is taken back.

    Returns:
      "logits" [1, height, width, classes], the losses by their names, and "gradient_norm/GROUP", "update_norm/GROUP".
    """
    with forms.chosen("cpu" if device.startswith("CPU") else "plain"), tf.device(device):
        method = build()
        batches = made_up.batches(_config(method.segmenter.backbone, _CHECKED_SIZE), _CLASSES, 1)

        @tf.function(jit_compile=xla, autograph=False)
        def compute():
            logits = method.segmenter(batches["source"]["image"])
            return tf.cast(logits, tf.float32), *method.losses_and_gradients(*(batches[d] for d in method.domains))

        logits, losses, gradients = compute()
        norms = {name: tf.linalg.global_norm(values) for name, values in gradients.items()}
        while method.loss_scale and not np.isfinite([*norms.values()]).all() and method.loss_scale.scale > 1:
            method.loss_scale.scale.assign(method.loss_scale.scale / 2)  # as a training does before its first update
            logits, losses, gradients = compute()
            norms = {name: tf.linalg.global_norm(values) for name, values in gradients.items()}
        changes = {}
        states = [v for group in method.groups.values() for v in group.variables]
        states += [v for optimizer in method.optimizers.values() for v in optimizer.variables]
        before = [tf.identity(state) for state in states]
        old = {name: [tf.identity(v) for v in group.variables] for name, group in method.groups.items()}
        method.update(gradients, losses)
        for name, group in method.groups.items():
            changes[name] = tf.linalg.global_norm([v - w for v, w in zip(group.variables, old[name], strict=True)])
        for state, value in zip(states, before, strict=True):
            state.assign(value)
    values = {"logits": logits} | losses | {f"gradient_norm/{name}": norm for name, norm in norms.items()}
    values |= {f"update_norm/{name}": change for name, change in changes.items()}
    return {name: value.numpy() for name, value in values.items()}


def _compare(what: str, reference: Callable[[], dict], numbers: Callable[[], dict], tolerance: float) -> Finding:
    start = time.perf_counter()
    expected, computed = reference(), numbers()
    distances = {
        name: float(np.linalg.norm(computed[name] - value) / np.linalg.norm(value)) for name, value in expected.items()
    }
    furthest = max(distances, key=lambda name: np.nan_to_num(distances[name], nan=np.inf))
    wrong = not distances[furthest] <= tolerance
    text = f"at most {distances[furthest]:.1e} from the CPU's float32 ({furthest})"
    if wrong:
        text += f", {tolerance:g} is allowed: train in another precision, and tell the project"
    return Finding(what, text, {"distances": distances, "seconds": time.perf_counter() - start}, wrong)


def _input_speed(size: tuple[int, int]) -> Finding:
    """Reads, decodes, jitters and batches made-up records."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for index in range(_MADE_UP_RECORDS):
            image, label = (os.path.join(folder, f"{index}{end}") for end in (".jpg", "_label.png"))
            coarse = random.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
            Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(image, quality=95)
            ids = random.integers(0, 34, (size[0] // 16, size[1] // 16), np.uint8)
            Image.fromarray(np.kron(ids, np.ones((16, 16), np.uint8))).save(label)
            pairs.append(Pair(f"{index}.jpg", image, label))
        dataset = DataSet(tuple(pairs), cityscapes.LABELS)
        records = os.path.join(folder, "records")
        conversion.convert(dataset, records)
        augmentation = Augmentation(*size, color_jitter=True)
        images = iter(pipeline.train_dataset(records, labels.CITYSCAPES19, augmentation, batch_size=1, seed=0))
        for _ in range(_MADE_UP_RECORDS):  # fills the buffers, lets the parallelism settle
            next(images)
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < _INPUT_SECONDS:
            next(images)
            count += 1
        rate = count / (time.perf_counter() - start)
    text = f"{rate:.1f} images/s of {size[1]}x{size[0]} with labels and colour jitter"
    return Finding("speed of the input", text, {"images_per_second": rate, "size": size})


def _inference_speed(size: tuple[int, int], precision: str) -> Finding:
    set_precision(precision)
    segmenter = made_up.build_segmenter("resnet101", _CLASSES)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8))
    call = tf.function(lambda images: tf.argmax(segmenter(images), axis=-1))
    seconds = benchmark.measure(lambda: call(images), warmup=1, repeats=5)
    return _speed("inference", 1, seconds, size, precision)


def _training_speed(size: tuple[int, int], precision: str, strategy: tf.distribute.Strategy) -> Finding:
    set_precision(precision)
    config = _config("resnet101", size)
    with strategy.scope():
        method = made_up.build_method(config, _CLASSES)
    step = made_up.step_function(method, made_up.batches(config, _CLASSES, 1), strategy)
    seconds = benchmark.measure(step, warmup=1, repeats=5)
    return _speed("training", 2 * strategy.num_replicas_in_sync, seconds, size, precision)


def _speed(what: str, images: int, seconds: dict, size: tuple[int, int], precision: str) -> Finding:
    rate = images / seconds["median"]
    text = (
        f"{rate:.2f} images/s of {size[1]}x{size[0]}, ResNet-101, {precision}, {images} at a time; "
        f"the first after {seconds['first']:.0f} s"
    )
    figures = {"images_per_second": rate, "seconds": seconds, "size": size, "precision": precision}
    return Finding(f"speed of {what}", text, figures)


def _memory() -> Finding:
    """Says what the largest check so far, training ResNet-101, left of the memory of the first device."""
    peak, cards = benchmark.peak_memory(), driver()
    if tf.config.list_logical_devices("GPU"):
        total = int(cards[0]["memory.total"]) * 2**20 if cards else 0
    else:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    left = f", {(total - peak) / 1e9:.1f} GB of {total / 1e9:.1f} left" if total else ""
    return Finding("memory", f"{peak / 1e9:.1f} GB at the most{left}", {"peak_bytes": peak, "total_bytes": total})
