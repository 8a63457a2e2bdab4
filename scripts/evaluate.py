"""Scores a trained segmenter: IoU of every class, mean IoU, pixel accuracy.

python scripts/evaluate.py --checkpoint=runs/gta5_r101/adversarial --records=data/records/cityscapes_val

Prints the table, and writes scores.json and scores.csv into --output. Images are resized to the evaluation size, logits
are upsampled to each label's own size.
"""

import os

from absl import flags

from fada_tf import cli

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Run directory (its newest checkpoint), RUN/best or a checkpoint."
)
_RECORDS = flags.DEFINE_string("records", "", "Folder of labelled shards; empty: the run's own evaluation records.")
_OUTPUT = flags.DEFINE_string("output", "", "Folder for the scores; empty: RUN/scores/NAME of the records.")
_HEIGHT = flags.DEFINE_integer("height", 0, "Pixels that images are resized to; 0: the run's evaluation height.")
_WIDTH = flags.DEFINE_integer("width", 0, "Pixels that images are resized to; 0: the run's evaluation width.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 0, "Images a step; 0: the run's evaluation batch size.")


def main(argv):
    """Evaluates with a progress bar."""
    del argv
    import tqdm

    from fada_tf.data import pipeline
    from fada_tf.data.manifest import Manifest
    from fada_tf.evaluation.evaluator import Evaluator
    from fada_tf.evaluation.score_files import write_scores
    from fada_tf.models import checkpoint
    from fada_tf.models.strategy import make_strategy

    source = checkpoint.checkpoint_path(_CHECKPOINT.value)
    run = checkpoint.run_config(source)
    records = _RECORDS.value or run.data.evaluation.records
    height, width = checkpoint.input_size(source, _HEIGHT.value, _WIDTH.value)
    batch_size = _BATCH_SIZE.value or run.data.evaluation.batch_size
    label_space = checkpoint.run_label_space(source)
    count = Manifest.load(records).num_records
    dataset = pipeline.evaluation_dataset(records, label_space, batch_size=batch_size, height=height, width=width)
    strategy = make_strategy()
    with strategy.scope():
        segmenter = checkpoint.load_segmenter(source)
    with tqdm.tqdm(total=count, desc="evaluate", unit="image") as bar:
        evaluator = Evaluator(segmenter, dataset, label_space.names, strategy, progress=bar.update)
        evaluator.evaluate(-1)

    records_name = os.path.basename(os.path.normpath(records))
    output = _OUTPUT.value or os.path.join(checkpoint.run_directory(source), "scores", records_name)
    origin = {"checkpoint": source, "records": records, "images": count, "height": height, "width": width}
    write_scores(evaluator.scores, origin, output)
    print(evaluator.scores.table())
    print(f"written: {output}/scores.json, scores.csv")


if __name__ == "__main__":
    flags.mark_flag_as_required("checkpoint")
    cli.run(main)
