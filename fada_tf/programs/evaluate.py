"""Scores a trained segmenter: IoU of every class, mean IoU, also near boundaries, pixel accuracy, calibration error.

fada-tf evaluate --checkpoint=runs/gta5_r101/adversarial --records=data/records/cityscapes_val
fada-tf evaluate --checkpoint=runs/gta5_r101/adversarial --scales=0.7,1,1.3 --flip
fada-tf evaluate --checkpoint=runs/gta5_r101/adversarial --all

Prints the table, and writes scores.json and scores.csv into --output, with conditions.csv of each weather, time of day,
city and split where the records differ in it; with --all, checkpoints.csv. Images are resized to the evaluation size,
logits are upsampled to each label's own size. Of Cityscapes' 19, 16 and 13 classes, the means are reported by
themselves where all of them are scored.
"""

import os

from absl import flags, logging

from fada_tf import cli

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Run directory (its newest checkpoint), RUN/best or a checkpoint."
)
_RECORDS = flags.DEFINE_string("records", "", "Folder of labelled shards; empty: the run's own evaluation records.")
_OUTPUT = flags.DEFINE_string(
    "output", "", "Folder for the scores; empty: in RUN/scores, one for these records, size, views and checkpoint."
)
_ALL = flags.DEFINE_bool("all", False, "Score every checkpoint of the run directory, and name the best.")
_SCALES = flags.DEFINE_list("scales", ["1"], "Factors on the image size, averaged; the paper's: 0.7,1,1.3.")
_FLIP = flags.DEFINE_bool("flip", False, "Average with the mirrored image, at every scale.")
_HEIGHT = flags.DEFINE_integer(
    "height", 0, "Pixels that images are resized to; 0: the run's evaluation height.", lower_bound=0
)
_WIDTH = flags.DEFINE_integer(
    "width", 0, "Pixels that images are resized to; 0: the run's evaluation width.", lower_bound=0
)
_WINDOWS = cli.define_windows()
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 0, "Images a step, over all replicas; 0: the run's, or one a replica.", lower_bound=0
)
_NETWORK = cli.define_network()
cli.define_convolutions()


def main(argv):
    """Evaluates with a progress bar."""
    del argv
    logging.set_verbosity(logging.WARNING)  # strategies name every tensor that they add up

    from fada_tf import progress
    from fada_tf.data.manifest import Manifest
    from fada_tf.devices import make_strategy, workers
    from fada_tf.evaluation.evaluator import evaluator_of_records
    from fada_tf.evaluation.score_files import write_checkpoint_scores, write_scores
    from fada_tf.evaluation.views import Views
    from fada_tf.runs import checkpoint, results

    if _ALL.value:
        paths = checkpoint.all_checkpoints(_CHECKPOINT.value)
    else:
        paths = [checkpoint.checkpoint_path(_CHECKPOINT.value)]
    run = checkpoint.run_config(paths[0])
    records = checkpoint.evaluation_records(paths[0], _RECORDS.value)
    sides = _HEIGHT.value, _WIDTH.value
    height, width, windows = checkpoint.sight(paths[0], *sides, *(flag.value for flag in _WINDOWS))
    views = Views.parse(_SCALES.value, _FLIP.value, windows)
    views.check(run.model.backbone, height, width)
    label_space = checkpoint.run_label_space(paths[0])
    manifest = Manifest.load(records)
    strategy = make_strategy()
    with strategy.scope():
        segmenter = checkpoint.load_segmenter(paths[0], _NETWORK.value)
    scores = {}
    with progress.bar(manifest.num_records * len(paths), "evaluate", "image") as bar:
        evaluator = evaluator_of_records(
            segmenter, manifest, label_space, height=height, width=width,
            batch_size=_BATCH_SIZE.value or run.data.evaluation.batch_size,
            strategy=strategy, progress=bar.update, views=views, detailed=True,
        )  # fmt: skip
        for path in paths:
            checkpoint.restore_segmenter(segmenter, path, _NETWORK.value)
            evaluator.evaluate(-1)
            scores[path] = evaluator.scores

    if workers(strategy)[0]:
        return  # the first one writes
    run_dir, iteration = checkpoint.run_directory(paths[0]), checkpoint.iteration(paths[0])
    scoring = results.Scoring(records, height, width, views.scales, views.flip, _NETWORK.value, windows)
    if _ALL.value:
        table = os.path.join(_OUTPUT.value or scoring.folder(run_dir), results.CHECKPOINTS_TABLE)
        best = write_checkpoint_scores(scores, table)
        for path in paths:
            print(f"{path}  mean IoU {100 * scores[path].mean_iou:.2f} %{'  best' if path == best else ''}")
        print(f"written: {table}")
        return
    origin = {"checkpoint": paths[0], "weights_sha256": checkpoint.weights_digest(paths[0]), "iteration": iteration}
    origin |= {
        "network": checkpoint.network(paths[0], _NETWORK.value),
        "records": records,
        "images": manifest.num_records,
    }
    origin |= scoring.key()
    output = _OUTPUT.value or os.path.dirname(results.path(scoring, run_dir, iteration))
    write_scores(scores[paths[0]], origin, output)
    print(scores[paths[0]].table())
    tables = [results.SCORES_TABLE, *([results.CONDITIONS_TABLE] if scores[paths[0]].by_condition else [])]
    print(f"written: {output}/{', '.join([results.SCORES_FILE, *tables])}")


if __name__ == "__main__":
    flags.mark_flag_as_required("checkpoint")
    cli.run(main)
