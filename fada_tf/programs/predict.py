"""Segments a picture or a folder of pictures.

fada-tf predict --checkpoint=runs/gta5_r101/self_distillation --images=street.jpg --output=predictions

Writes ids/NAME.png (class ids), masks/NAME.png (class colours) and overlays/NAME.png into --output, and legend.png,
which names the colours; with --submission, for Cityscapes' own evaluation, CITY_SEQUENCE_FRAME_pred_labelIds.png with
its label ids:

fada-tf predict --checkpoint=runs/gta5_r101/self_distillation --images=Cityscapes/leftImg8bit/test \
    --output=submission --submission
"""

import functools
import sys

from absl import flags

from fada_tf import cli

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Run directory (its newest checkpoint), RUN/best or a checkpoint."
)
_IMAGES = flags.DEFINE_string("images", None, "A picture, or a folder of pictures.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
_HEIGHT = flags.DEFINE_integer(
    "height", 0, "Pixels that pictures are resized to; 0: the run's evaluation height.", lower_bound=0
)
_WIDTH = flags.DEFINE_integer(
    "width", 0, "Pixels that pictures are resized to; 0: the run's evaluation width.", lower_bound=0
)
_SCALES = flags.DEFINE_list("scales", ["1"], "Factors on the image size, averaged; the paper's test: 0.7,1,1.3.")
_FLIP = flags.DEFINE_bool("flip", False, "Average with the mirrored image, at every scale.")
_WINDOWS = cli.define_windows()
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    0,
    "Pictures, or windows of one, a step; 0: 4 on a GPU, 1 on CPUs, where more are no faster.",
    lower_bound=0,
)
_SUBMISSION = flags.DEFINE_bool("submission", False, "Write ids for a data set's own evaluation and nothing else.")
_SERVER = flags.DEFINE_enum(
    "server", "cityscapes", ["cityscapes", "acdc", "dark_zurich", "muses"], "Whose ids and file names a submission has."
)
_NETWORK = cli.define_network()
cli.define_convolutions()
_LONG = 5  # seconds for a picture, after which its windows are counted


def main(argv):
    """Predicts with a progress bar; names the pictures that cannot be read, and goes on."""
    del argv
    from fada_tf import progress
    from fada_tf.data import files, images
    from fada_tf.devices import inference_batch_size, set_up_devices
    from fada_tf.errors import printable
    from fada_tf.evaluation import prediction, submission
    from fada_tf.evaluation.views import Views
    from fada_tf.runs import checkpoint

    set_up_devices()
    folder, names = prediction.find_pictures(_IMAGES.value)
    for line in images.passed_over(files.walk(folder), folder) if files.is_folder(_IMAGES.value) else ():
        sys.stderr.write(f"note: {printable(line)}\n")
    sides = _HEIGHT.value, _WIDTH.value
    height, width, windows = checkpoint.sight(_CHECKPOINT.value, *sides, *(flag.value for flag in _WINDOWS))
    views = Views.parse(_SCALES.value, _FLIP.value, windows)
    segmenter = checkpoint.load_segmenter(_CHECKPOINT.value, _NETWORK.value)
    views.check(segmenter.backbone, height, width)
    batch_size = _BATCH_SIZE.value or inference_batch_size()
    windows_bar = _WindowsBar() if windows else None
    predictor = prediction.Predictor(segmenter, height, width, views, batch_size=batch_size, progress=windows_bar)
    label_space = checkpoint.run_label_space(_CHECKPOINT.value)
    write = prediction.write_predictions
    if _SUBMISSION.value:
        write = functools.partial(submission.write_submission, server=_SERVER.value)
    problems = []
    with progress.bar(len(names), "predict", "picture") as bar:
        for _ in write(predictor, label_space, folder, names, _OUTPUT.value, problems.append):
            bar.update()
    for problem in problems:
        sys.stderr.write(f"error: {problem}\n")
    if problems:
        sys.stderr.write(f"{len(names) - len(problems)} of {len(names)} pictures are written\n")
        sys.exit(cli.INPUT_ERROR_STATUS)


class _WindowsBar:
    """Shows how many windows of a picture have been seen, and when all will be, if that takes long."""

    def __init__(self):
        self._bar = None

    def __call__(self, seen, total):
        """Takes the number of windows that have been seen, and that of all."""
        from fada_tf import progress

        if self._bar is None:
            self._bar = progress.bar(total, "this picture", "window", leave=False, position=1, delay=_LONG)
        self._bar.update(seen - self._bar.n)
        if seen == total:
            self._bar.close()
            self._bar = None


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint", "images", "output"])
    cli.run(main)
