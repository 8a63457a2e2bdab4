"""Measures how well features separate the classes over both domains: class center distance, CCD (lower is better).

fada-tf analyze_features --checkpoint=runs/gta5_r101/adversarial --target=data/records/cityscapes_val
fada-tf analyze_features --checkpoint=runs/gta5_r101/source --checkpoint=runs/gta5_r101/adversarial \
    --target=data/records/cityscapes_val --picture=features.png

Both domains need labels: --target takes labelled target images. Prints the table, and writes ccd.json and ccd.csv into
RUN/features, in a folder for these records, size, number of images and checkpoint. --picture shows the features of
every run in the plane (t-SNE).
"""

import csv
import io
import math
import os

from absl import flags

from fada_tf import cli
from fada_tf.errors import InputError

_CHECKPOINT = flags.DEFINE_multi_string(
    "checkpoint", None, "Run directory (its newest checkpoint), RUN/best or a checkpoint; once for every run."
)
_SOURCE = flags.DEFINE_string("source", "", "Folder of labelled source shards; empty: those the first run trained on.")
_TARGET = flags.DEFINE_string("target", "", "Folder of labelled target shards; empty: the first run's evaluation set.")
_HEIGHT = flags.DEFINE_integer(
    "height", 0, "Pixels that images are resized to; 0: the run's evaluation height.", lower_bound=0
)
_WIDTH = flags.DEFINE_integer(
    "width", 0, "Pixels that images are resized to; 0: the run's evaluation width.", lower_bound=0
)
_IMAGES = flags.DEFINE_integer("images", 500, "Images of each domain, evenly taken; 0: all.", lower_bound=0)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 0, "Images a step; 0: 4 on a GPU, 1 on CPUs, where more are no faster.", lower_bound=0
)
_FEATURE_STRIDE = flags.DEFINE_integer(
    "feature_stride", 0, "Stride of the feature map, in pixels; 0: the map that the run names.", lower_bound=0
)
_PICTURE = flags.DEFINE_string("picture", "", "A PNG of feature vectors in the plane; empty: none.")
_POINTS = flags.DEFINE_integer("points", 60, "Of each class and domain in the picture.", lower_bound=1)
cli.define_convolutions()


def main(argv):
    """Analyses every run with a progress bar."""
    del argv
    from fada_tf import progress
    from fada_tf.data import files
    from fada_tf.devices import inference_batch_size, set_up_devices
    from fada_tf.evaluation import features
    from fada_tf.runs import checkpoint, results

    set_up_devices()
    paths = [checkpoint.checkpoint_path(path) for path in _CHECKPOINT.value]
    run = checkpoint.run_config(paths[0]).data
    records = {"source": _SOURCE.value or run.source.records}
    if not records["source"]:
        raise InputError(f"the run of {paths[0]} names no source records: give --source")
    records["target"] = checkpoint.evaluation_records(paths[0], _TARGET.value, "--target")
    panels, notes = {}, {}
    titles = ["/".join(checkpoint.run_directory(path).split("/")[-2:]) for path in paths]
    if len(set(titles)) < len(titles):
        titles = paths
    for path, title in zip(paths, titles, strict=True):
        size = checkpoint.input_size(path, _HEIGHT.value, _WIDTH.value)
        label_space = checkpoint.run_label_space(path)
        total = sum(features.number_of_images(folder, _IMAGES.value) for folder in records.values())
        with progress.bar(total, "analyze", "image") as bar:
            segmenter = checkpoint.load_segmenter(path, feature_stride=_FEATURE_STRIDE.value)
            analysis = features.analyze(
                segmenter, records, label_space, size,
                images=_IMAGES.value, sample_size=_POINTS.value, progress=bar.update,
                batch_size=_BATCH_SIZE.value or inference_batch_size(),
            )  # fmt: skip
        directory = checkpoint.run_directory(path)
        how = results.Analysis(
            **records, height=size[0], width=size[1], images=_IMAGES.value, feature_stride=_FEATURE_STRIDE.value
        )
        iteration = checkpoint.iteration(path)
        origin = {"checkpoint": path, "weights_sha256": checkpoint.weights_digest(path), "iteration": iteration}
        output = os.path.dirname(results.path(how, directory, iteration))
        origin |= {"stride": segmenter.feature_stride}
        _write(analysis, label_space.names, origin | records | how.key(), output)
        mean = analysis.both.mean_class_center_distance
        panels[title], notes[title] = analysis.samples, f"mean CCD {mean:.2f}, stride {segmenter.feature_stride}"
    if _PICTURE.value:
        from fada_tf.reporting import feature_picture

        files.make_folder(os.path.dirname(_PICTURE.value) or ".")
        files.write_atomically(_PICTURE.value, feature_picture.draw(panels, label_space, notes))
        print(f"written: {_PICTURE.value}")


def _write(analysis, names, origin, output):
    """Prints the table, and writes it as JSON and CSV."""
    from fada_tf.data import files
    from fada_tf.runs import results

    values = [None if math.isnan(value) else float(value) for value in analysis.both.class_center_distance]
    mean = analysis.both.mean_class_center_distance
    counts = {domain: own.tolist() for domain, own in analysis.counts.items()}
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["class", "ccd", "source_vectors", "target_vectors"])
    width = max(len(name) for name in names)
    print(f"{'class':<{width}}     CCD    source    target  feature vectors")
    for name, value, source, target in zip(names, values, counts["source"], counts["target"], strict=True):
        writer.writerow([name, "" if value is None else f"{value:.6f}", source, target])
        print(f"{name:<{width}} {'      -' if value is None else f'{value:7.3f}'} {source:9d} {target:9d}")
    writer.writerow(["mean", "" if math.isnan(mean) else f"{mean:.6f}", sum(counts["source"]), sum(counts["target"])])
    print(f"{'mean':<{width}} {mean:7.3f}")
    result = origin | {"mean_ccd": mean, "ccd": dict(zip(names, values, strict=True)), "feature_vectors": counts}
    files.make_folder(output)
    files.write_atomically(os.path.join(output, results.CCD_TABLE), table.getvalue().encode())
    files.write_atomically(os.path.join(output, results.CCD_FILE), files.json_text(result, indent=1).encode())
    print(f"written: {output}/{results.CCD_FILE}, {results.CCD_TABLE}")


if __name__ == "__main__":
    flags.mark_flag_as_required("checkpoint")
    cli.run(main)
