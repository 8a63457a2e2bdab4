r"""Measures segmentation of made-up images, from pixels to class ids: time, memory, operations, share of the ceilings.

    fada-tf benchmark_inference --backbone=resnet101 --height=512 --width=1024 --output=inference.json

The weights are random, which changes nothing of the cost.
"""

import json
import sys

from absl import flags

from fada_tf import cli

_BACKBONE = flags.DEFINE_string("backbone", "resnet101", "Feature extractor.")
_CLASSES = flags.DEFINE_integer("classes", 19, "Number of classes.", lower_bound=1)
_HEIGHT = flags.DEFINE_integer("height", 512, "Pixels.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 1024, "Pixels.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Images a call.", lower_bound=1)
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "mixed_bfloat16"], "Compute type.")
_WARMUP = flags.DEFINE_integer("warmup", 2, "Calls after the first that do not count.", lower_bound=0)
_CALLS = flags.DEFINE_integer("calls", 10, "Calls that count.", lower_bound=1)
_HEAD = flags.DEFINE_string("head", "aspp", "Classifier.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write; default: the result is printed alone.")
cli.define_convolutions()
_GIVEN = ("backbone", "head", "classes", "height", "width", "batch_size", "convolutions")


def main(argv):
    """Measures and prints."""
    del argv
    import numpy as np
    import tensorflow as tf

    from fada_tf import benchmark
    from fada_tf.data import files
    from fada_tf.devices import set_precision, set_up_devices
    from fada_tf.models.class_maps import predict_class_map
    from fada_tf.models.segmenter import build_segmenter, check_size

    set_up_devices()
    set_precision(_PRECISION.value)
    size = (_HEIGHT.value, _WIDTH.value)
    check_size(_BACKBONE.value, *size, "the image")
    segmenter = build_segmenter(_BACKBONE.value, _CLASSES.value, head=_HEAD.value)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (_BATCH_SIZE.value, *size, 3)), tf.uint8)
    call = tf.function(
        lambda images: predict_class_map([segmenter(images)], tf.constant(size), align_corners=segmenter.align_corners)
    )
    names = {segmenter.feature_extractor.name: "feature extractor", "classifier": "classifier"}
    parts = benchmark.count_parts(call.get_concrete_function(images), names)
    seconds = benchmark.measure(lambda: call(images), warmup=_WARMUP.value, repeats=_CALLS.value)
    head = {name: flags.FLAGS[name].value for name in _GIVEN}
    text = json.dumps(head | benchmark.summary(seconds, parts, _PRECISION.value), indent=2) + "\n"
    sys.stdout.write(text)
    if _OUTPUT.value:
        files.write_atomically(_OUTPUT.value, text.encode())


if __name__ == "__main__":
    cli.run(main)
