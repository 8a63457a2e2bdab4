"""Measures the input pipeline stage by stage, and against a torch DataLoader that does the same with Pillow.

fada-tf benchmark_input --photos=DIR [--torch_python=.venv-torch/bin/python]

Photos are enlarged to the sizes of GTA5 (1914x1052, with labels) and Cityscapes (2048x1024); the pipeline makes
1280x720 and 1024x512 of them, as the paper's adversarial stage does. Files are warm; all cores are used.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from absl import flags

from fada_tf import cli, machine
from fada_tf.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("photos", None, "folder of JPEG or PNG photos that the test images are made of", required=True)
flags.DEFINE_integer("count", 12, "images of each domain", lower_bound=1)
flags.DEFINE_float("seconds", 10.0, "length of each measurement", lower_bound=0.1)
flags.DEFINE_float(
    "step_seconds", 0.5, "length of the training step (of one pair) whose waiting is measured", lower_bound=0
)
flags.DEFINE_string("torch_python", None, "an interpreter with torch, numpy and Pillow; default: no comparison")

SOURCE_SIZE, TARGET_SIZE = (1052, 1914), (1024, 2048)  # height, width of the files
SOURCE_TRAINED, TARGET_TRAINED = (720, 1280), (512, 1024)
BLOCK = 24  # pixels; the made-up labels are squares of this size


def main(argv: Sequence[str]) -> None:
    """Runs the program."""
    del argv
    machine.hide_gpus()
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("jpg", "png"):
            _make_files(folder, suffix)
            for resized in (False, True):
                _measure(folder, suffix, resized)
            if FLAGS.torch_python:
                _measure_torch(folder, suffix)


def _make_files(folder: str, suffix: str) -> None:
    """Writes FOLDER/SUFFIX/{source,source_labels,target}/N.*, and their records, as they are and resized."""
    import numpy as np
    from PIL import Image

    from fada_tf.data import conversion
    from fada_tf.data.datasets import cityscapes
    from fada_tf.data.datasets.base import DataSet, Pair, paths_by_key
    from fada_tf.data.images import SUFFIXES

    photos = list(paths_by_key(FLAGS.photos, SUFFIXES).values())
    if not photos:
        raise InputError(f"--photos={FLAGS.photos} holds no pictures ({', '.join(SUFFIXES)})")
    random = np.random.default_rng(0)
    for domain, (height, width) in (("source", SOURCE_SIZE), ("target", TARGET_SIZE)):
        pairs = []
        os.makedirs(f"{folder}/{suffix}/{domain}")
        os.makedirs(f"{folder}/{suffix}/{domain}_labels")
        for i in range(FLAGS.count):
            photo = Image.open(os.path.join(FLAGS.photos, photos[i % len(photos)])).convert("RGB")
            # Enlarged photos are smooth and decode too fast; some noise gives back the file size of real ones.
            pixels = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC))
            pixels = np.clip(pixels + random.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
            image, label = f"{folder}/{suffix}/{domain}/{i}.{suffix}", f"{folder}/{suffix}/{domain}_labels/{i}.png"
            Image.fromarray(pixels).save(image, quality=95)
            blocks = random.integers(0, 34, (height // BLOCK + 1, width // BLOCK + 1)).astype(np.uint8)
            Image.fromarray(np.kron(blocks, np.ones((BLOCK, BLOCK), np.uint8))[:height, :width]).save(label)
            pairs.append(Pair(f"{i}.{suffix}", image, label if domain == "source" else None))
        dataset = DataSet(tuple(pairs), cityscapes.LABELS if domain == "source" else None)
        size = SOURCE_TRAINED if domain == "source" else TARGET_TRAINED
        conversion.convert(dataset, f"{folder}/{suffix}/{domain}_records")
        conversion.convert(dataset, f"{folder}/{suffix}/{domain}_records_resized", resize=size)


def _measure(folder: str, suffix: str, resized: bool) -> None:
    """Prints the speed of each stage for one kind of records, and of whole pairs."""
    import tensorflow as tf

    from fada_tf.data.manifest import Manifest

    kind = "_resized" if resized else ""
    print_line = sys.stdout.write
    print_line(f"\n{suffix} files, {'resized at conversion (as PNG)' if resized else 'records at their own size'}\n")
    for domain in ("source", "target"):
        records = f"{folder}/{suffix}/{domain}_records{kind}"
        manifest = Manifest.load(records)
        megabytes = manifest.entries.lengths.mean() / 1e6
        for stage, dataset in _stages(manifest, domain).items():
            rate = _images_per_second(iter(dataset))
            print_line(f"  {domain:6}  {stage:28} {rate:8.1f} images/s {rate * megabytes:8.1f} MB/s\n")
    pairs = tf.data.Dataset.zip(
        *(_train(f"{folder}/{suffix}/{domain}_records{kind}", domain) for domain in ("source", "target"))
    )
    rate = _images_per_second(iter(pairs))
    print_line(f"  pairs of both, ready to train on   {rate:8.2f} pairs/s\n")
    decode = _images_per_second(iter(_decoded_pairs(folder, suffix, kind)))
    print_line(f"  floor: only decoding those images  {decode:8.2f} pairs/s; we reach {rate / decode:.0%} of it\n")
    waited = _waiting_share(iter(pairs), FLAGS.step_seconds)
    print_line(f"  a step of {FLAGS.step_seconds:g} s a pair would wait {waited:.1%} of the time\n")


def _stages(manifest, domain: str) -> dict:
    """Returns a dataset for each stage and those before it; an element is one image."""
    import dataclasses

    import tensorflow as tf

    from fada_tf.data import tfrecord, transforms

    with_label = domain == "source"
    shard, offset, length = manifest.places
    places = ([manifest.shard_paths[i] for i in shard], offset, length)
    records = tf.data.Dataset.from_tensor_slices(places).repeat()
    options = _augmentation(domain)

    def staged(*steps):
        def apply(*place):
            element = tfrecord.read_payload(*place)
            for step in steps:
                element = step(element)
            return element

        return records.map(apply, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def decode(payload):
        return tfrecord.parse(payload, with_label=with_label)

    def augment(options):
        def step(element):
            image, label = transforms.augment(element["image"], element.get("label"), [1, 2], options)
            return image if label is None else (image, label)

        return step

    stages = {
        "read": staged(),
        "read, decode": staged(decode),
        "read, decode, resize": staged(decode, augment(dataclasses.replace(options, color_jitter=False))),
    }
    if options.color_jitter:
        stages["read, decode, jitter, resize"] = staged(decode, augment(options))
    stages["all, in batches of 1"] = _train(manifest.folder, domain)
    return stages


def _augmentation(domain: str):
    from fada_tf.data.transforms import Augmentation

    size = SOURCE_TRAINED if domain == "source" else TARGET_TRAINED
    return Augmentation(*size, color_jitter=domain == "source")


def _train(records: str, domain: str):
    from fada_tf.data import labels, pipeline

    label_space = labels.CITYSCAPES19 if domain == "source" else None
    return pipeline.train_dataset(records, label_space, _augmentation(domain), batch_size=1, seed=0)


def _decoded_pairs(folder: str, suffix: str, kind: str):
    """Returns a dataset that only decodes the images of a source and a target record, already in memory."""
    import tensorflow as tf

    from fada_tf.data import tfrecord
    from fada_tf.data.manifest import Manifest

    images = []
    for domain in ("source", "target"):
        manifest = Manifest.load(f"{folder}/{suffix}/{domain}_records{kind}")
        images.append([record.image for path in manifest.shard_paths for record in tfrecord.read_shard(path)])
    pairs = tf.data.Dataset.from_tensor_slices(tuple(images)).repeat()
    decoded = pairs.map(lambda *pair: tuple(map(tfrecord.decode_image, pair)), num_parallel_calls=tf.data.AUTOTUNE)
    return decoded.prefetch(tf.data.AUTOTUNE)


def _images_per_second(elements: Iterator) -> float:
    for _ in range(4):  # fills the buffers, lets the parallelism settle
        next(elements)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < FLAGS.seconds:
        next(elements)
        count += 1
    return count / (time.perf_counter() - start)


def _waiting_share(elements: Iterator, step_seconds: float) -> float:
    """Returns the share of the time that a loop of steps of this length spends waiting for its input."""
    next(elements)
    waited, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < FLAGS.seconds:
        time.sleep(step_seconds)  # the accelerator's turn: the cores are free for the pipeline
        before = time.perf_counter()
        next(elements)
        waited += time.perf_counter() - before
    return waited / (time.perf_counter() - start)


def _measure_torch(folder: str, suffix: str) -> None:
    program = os.path.join(os.path.dirname(__file__), "benchmark_torch_loader.py")
    options = [f"--folder={folder}/{suffix}", f"--seconds={FLAGS.seconds}"]
    result = subprocess.run([FLAGS.torch_python, program, *options], capture_output=True, text=True, check=False)
    if result.returncode:
        raise InputError(f"--torch_python={FLAGS.torch_python} failed: {result.stderr.strip().splitlines()[-1:]}")
    rate = json.loads(result.stdout)["pairs_per_second"]
    sys.stdout.write(f"  torch DataLoader with Pillow, {suffix} files {rate:8.2f} pairs/s\n")


if __name__ == "__main__":
    cli.run(main)
