"""Labels the target domain's training images with an adapted segmenter, for self-distillation.

fada-tf make_pseudo_labels --checkpoint=runs/gta5_r101/adversarial \
    --records=data/records/cityscapes_train --output=data/records/cityscapes_train_pseudo

Safe to interrupt and run again: finished shards are kept.
"""

from absl import flags

from fada_tf import cli
from fada_tf.errors import InputError

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Run directory (its newest checkpoint), RUN/best or a checkpoint."
)
_RECORDS = flags.DEFINE_string("records", "", "Folder of target shards; empty: the run's own target records.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the labelled shards.")
_HEIGHT = flags.DEFINE_integer(
    "height", 0, "Pixels that images are resized to; 0: the run's evaluation height.", lower_bound=0
)
_WIDTH = flags.DEFINE_integer(
    "width", 0, "Pixels that images are resized to; 0: the run's evaluation width.", lower_bound=0
)
_SCALES = flags.DEFINE_list("scales", ["1"], "Factors on the image size, averaged; the paper's test: 0.7,1,1.3.")
_FLIP = flags.DEFINE_bool("flip", False, "Average with the mirrored image, at every scale.")
_WINDOWS = cli.define_windows()
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    0,
    "Images, or windows of one, a step; 0: 4 on a GPU, 1 on CPUs, where more are no faster.",
    lower_bound=0,
)
_BEAM = flags.DEFINE_string(
    "beam", None, "Work as a Beam pipeline with these Beam options, such as '--runner=DirectRunner'."
)
cli.define_convolutions()


def main(argv):
    """Labels with a progress bar."""
    del argv
    from fada_tf import progress
    from fada_tf.data import beam
    from fada_tf.data.manifest import Manifest
    from fada_tf.devices import inference_batch_size, set_up_devices
    from fada_tf.evaluation.prediction import SavedPredictor
    from fada_tf.evaluation.pseudo_labels import write_pseudo_labels
    from fada_tf.evaluation.views import Views
    from fada_tf.runs import checkpoint

    set_up_devices()
    path = checkpoint.checkpoint_path(_CHECKPOINT.value)
    records = _RECORDS.value or checkpoint.run_config(path).data.target.records
    if not records:
        raise InputError(f"the run of {path} names no target records: give --records")
    count = Manifest.load(records).num_records
    sides = _HEIGHT.value, _WIDTH.value
    height, width, windows = checkpoint.sight(path, *sides, *(flag.value for flag in _WINDOWS))
    views = Views.parse(_SCALES.value, _FLIP.value, windows)
    views.check(checkpoint.run_config(path).model.backbone, height, width)
    batch_size, convolutions = _BATCH_SIZE.value or inference_batch_size(), flags.FLAGS.convolutions
    predictor = SavedPredictor(path, height, width, views, batch_size, convolutions=convolutions)
    label_space = checkpoint.run_label_space(path)
    how = f"{views}, {windows}" if windows else f"{views}"  # as it was before there were windows
    job = {"predictor_id": f"{checkpoint.fingerprint(path)} at {width}x{height}, {how}"}
    if _BEAM.value is None:
        with progress.bar(count, "label", "image") as bar:
            manifest = write_pseudo_labels(predictor, records, _OUTPUT.value, label_space, progress=bar.update, **job)
    else:
        workers = beam.runner(_BEAM.value.split(), _OUTPUT.value.rstrip("/") + ".beam")
        manifest = write_pseudo_labels(predictor, records, _OUTPUT.value, label_space, workers=workers, **job)
    for name, share in zip(label_space.names, manifest.pixel_shares, strict=True):
        print(f"{name:<16} {100 * share:6.2f} % of the pixels")
    print(f"written: {_OUTPUT.value}, {manifest.num_records} images")


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint", "output"])
    cli.run(main)
