"""Exports a trained segmenter for TensorFlow Serving, as MODELS/NAME/VERSION.

fada-tf export_model --checkpoint=runs/gta5_r101/adversarial/best --models=models --images=photos

The pictures are real ones of the kind that will be served: the exported model must give them the classes that the
trained one gives, and warm-up requests are made of them. docs/serving.md tells how to go on.
"""

import os

from absl import flags, logging

from fada_tf import cli

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Run directory (its newest checkpoint), RUN/best or a checkpoint."
)
_MODELS = flags.DEFINE_string("models", "models", "Folder of all served models.")
_NAME = flags.DEFINE_string("name", "segmenter", "Name under which the model is served.")
_VERSION = flags.DEFINE_integer("version", 0, "Number of the version; 0: the next.", lower_bound=0)
_IMAGES = flags.DEFINE_string("images", None, "A picture, or a folder of pictures, like those that will be served.")
_MAX_IMAGES = flags.DEFINE_integer("max_images", 8, "Pictures that are used, spread over the folder.", lower_bound=1)
_HEIGHT = flags.DEFINE_integer(
    "height", 0, "Pixels that pictures are resized to; 0: the run's evaluation height.", lower_bound=0
)
_WIDTH = flags.DEFINE_integer(
    "width", 0, "Pixels that pictures are resized to; 0: the run's evaluation width.", lower_bound=0
)
_SCALES = flags.DEFINE_list("scales", ["1"], "Factors on the image size, averaged; the paper's test: 0.7,1,1.3.")
_FLIP = flags.DEFINE_bool("flip", False, "Average with the mirrored image, at every scale.")
_WINDOWS = cli.define_windows()
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", 1 << 22, "Pixels of a picture; larger ones are refused.", lower_bound=1
)
_MAX_BATCH = flags.DEFINE_integer("max_batch", 64, "Pictures in a request; more are refused.", lower_bound=1)
_WARMUP_SIZES = flags.DEFINE_list(
    "warmup_sizes", [], "Sizes that will be served, as HEIGHTxWIDTH,...; none: those of the pictures."
)
_WARMUP_BATCHES = flags.DEFINE_list("warmup_batches", ["1", "2", "3", "4"], "Batches that will be served.")
_FORMAT = flags.DEFINE_multi_string(
    "format", ["saved_model"],
    "litert, onnx or both with a comma between them: written as well, into MODELS/NAME/VERSION/portable; may be given "
    "several times.",
)  # fmt: skip
_NETWORK = cli.define_network()


def main(argv):
    """Exports and prints how close the exported model comes."""
    del argv
    sizes = tuple(_numbers("warmup_sizes", text, "HEIGHTxWIDTH") for text in _WARMUP_SIZES.value)
    batches = tuple(_numbers("warmup_batches", text, "NUMBER")[0] for text in _WARMUP_BATCHES.value)
    formats = (name.strip() for text in _FORMAT.value for name in text.split(","))

    logging.set_verbosity(logging.ERROR)  # TensorFlow's writers tell much that is no news to a user

    from fada_tf import progress
    from fada_tf.devices import set_up_devices
    from fada_tf.evaluation import prediction
    from fada_tf.evaluation.views import Views
    from fada_tf.export import version
    from fada_tf.export.signatures import ServingOptions
    from fada_tf.runs import checkpoint

    set_up_devices()
    folder, names = prediction.find_pictures(_IMAGES.value)
    names = names[:: -(-len(names) // _MAX_IMAGES.value)]
    paths = progress.track([os.path.join(folder, name) for name in names], len(names), "read", "picture")
    pictures = [prediction.read_picture(path) for path in paths]
    sides = _HEIGHT.value, _WIDTH.value
    height, width, windows = checkpoint.sight(_CHECKPOINT.value, *sides, *(flag.value for flag in _WINDOWS))
    views = Views.parse(_SCALES.value, _FLIP.value, windows)
    views.check(checkpoint.run_config(_CHECKPOINT.value).model.backbone, height, width)
    options = ServingOptions(height, width, views, _MAX_PIXELS.value, _MAX_BATCH.value)
    plan = version.ExportPlan(
        _CHECKPOINT.value, _MODELS.value, _NAME.value, _VERSION.value, options, sizes, batches,
        tuple(dict.fromkeys(name for name in formats if name != "saved_model")), _NETWORK.value,
    )  # fmt: skip
    print(f"written: {version.export_version(plan, pictures, report=print)}")


def _numbers(flag: str, text: str, form: str) -> tuple[int, ...]:
    from fada_tf.errors import InputError

    parts = text.split("x")
    if len(parts) != len(form.split("x")) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--{flag} has {text!r}: give {form},{form},... with whole numbers above 0")
    return tuple(int(part) for part in parts)


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint", "images"])
    cli.run(main)
