"""How much memory a large picture takes, in the real program."""

import os
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf.config import Config
from fada_tf.data.labels import CITYSCAPES19
from fada_tf.models.segmenter import build_segmenter
from fada_tf.runs.directory import write_run_directory
from tests.processes import command

GIGABYTES_2 = 2 * 10**9


@pytest.mark.slow  # VGG-16 on 12 megapixels, twice
@pytest.mark.parametrize("average", ["logits", "softmax"])
def test_12_megapixels_and_19_classes_take_less_than_2_gigabytes(tmp_path, average):
    run, photo = tmp_path / "run", tmp_path / "photo.jpg"
    config = Config(name="large")
    config.model.backbone = "vgg16"
    write_run_directory(str(run), config, CITYSCAPES19)
    segmenter = build_segmenter("vgg16", 19)
    tf.train.CheckpointManager(tf.train.Checkpoint(segmenter=segmenter), str(run / "checkpoints"), 1).save()
    pixels = np.random.default_rng(0).integers(0, 256, (75, 100, 3), np.uint8)
    Image.fromarray(pixels).resize((4000, 3000)).save(photo)
    options = [f"--checkpoint={run}", f"--images={photo}", f"--output={tmp_path / 'out'}", "--window=512x512"]
    process = subprocess.Popen(command("predict", *options, "--stride=512x512", f"--average={average}"))
    _, process.returncode, usage = os.wait4(process.pid, 0)
    assert process.returncode == 0
    with Image.open(tmp_path / "out/ids/photo.png") as ids:
        assert ids.size == (4000, 3000)
    assert usage.ru_maxrss * 1024 < GIGABYTES_2
