"""One self-contained HTML page that compares the stages of an experiment: scores, curves, pictures."""

import base64
import html
import io
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from fada_tf.data import images, pipeline
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import Manifest
from fada_tf.evaluation.pictures import colorize
from fada_tf.evaluation.prediction import Predictor
from fada_tf.models import checkpoint
from fada_tf.reporting.runs import Run

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
tr.total td { font-weight: 600; border-top: 2px solid #222; }
td.best { background: #e3f3e3; }
img { max-width: 100%; }
.pictures { display: grid; gap: .4rem; }
.pictures img { width: 100%; display: block; image-rendering: auto; }
.swatch { display: inline-block; width: .9em; height: .9em; margin-right: .4em; vertical-align: -.1em; }
.legend span { margin-right: 1.2em; white-space: nowrap; }
small { color: #666; }
"""


def write_page(title: str, runs: Sequence[Run], records: str, num_pictures: int) -> str:
    """Returns the page.

    Args:
      title: its heading.
      runs: the stages in order; pictures show the first one as before and the last one as after.
      records: the folder of labelled shards that all were scored on.
      num_pictures: rows of pictures, taken evenly from the records; 0 for a page without any.
    """
    label_space = checkpoint.run_label_space(runs[0].directory)
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        f"<h2>Intersection over union, %</h2>{_score_table(runs, label_space)}",
        f"<h2>Training</h2>{_settings_table(runs)}<img alt='curves' src='{_data_url(_curves(runs))}'>",
    ]
    if num_pictures:
        grid = _picture_grid(runs, records, label_space, num_pictures)
        sections.append(f"<h2>Pictures</h2>{_legend(label_space)}{grid}")
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(sections)}</body></html>\n"


def score_rows(runs: Sequence[Run], label_space: LabelSpace) -> list[tuple[str, list[float | None]]]:
    """Returns (name, a value in % for each run) of every class, then of mean IoU and of pixel accuracy."""
    rows = [(name, [run.scores["class_iou"][name] for run in runs]) for name in label_space.names]
    rows += [("mean IoU", [run.scores["mean_iou"] for run in runs])]
    rows += [("pixel accuracy", [run.scores["pixel_accuracy"] for run in runs])]
    return [(name, [None if value is None else 100 * value for value in values]) for name, values in rows]


def _score_table(runs: Sequence[Run], label_space: LabelSpace) -> str:
    header = "".join(f"<th>{html.escape(run.title)}</th>" for run in runs)
    lines = [f"<tr><th>class</th>{header}</tr>"]
    for name, values in score_rows(runs, label_space):
        known = [value for value in values if value is not None]
        cells = "".join(
            _score_cell(value, shaded=value == max(known, default=None) and known.count(value) == 1 < len(runs))
            for value in values
        )
        kind = " class=total" if name == "mean IoU" else ""
        lines.append(f"<tr{kind}><td>{html.escape(name)}</td>{cells}</tr>")
    scores = runs[0].scores
    note = f"{scores['images']} images of {scores['records']}; the best of a row is shaded."
    return f"<table>{''.join(lines)}</table><small>{html.escape(note)}</small>"


def _score_cell(value: float | None, shaded: bool) -> str:
    text = "–" if value is None else f"{value:.1f}"
    return f"<td class=best>{text}</td>" if shaded and value is not None else f"<td>{text}</td>"


def _settings_table(runs: Sequence[Run]) -> str:
    names = ("method", "backbone", "images", "batch", "iterations", "seconds a step", "initial weights")
    lines = ["<tr><th>stage</th>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"]
    for run in runs:
        config = run.config
        domain = config.data.source if config.data.source.records else config.data.target
        values = (
            config.method.name,
            config.model.backbone,
            f"{domain.width}×{domain.height}",
            config.training.batch_size,
            run.iterations,
            f"{run.seconds_per_step:.2f}",
            config.model.initial_weights or "random",
        )
        cells = "".join(f"<td>{html.escape(str(value))}</td>" for value in values)
        lines.append(f"<tr><td>{html.escape(run.title)}</td>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _curves(runs: Sequence[Run]) -> bytes:
    """Returns a PNG: the losses of every run, and mean IoU while it trained."""
    figure = Figure(figsize=(4 * len(runs), 6), layout="constrained")
    axes = figure.subplots(2, len(runs), squeeze=False, sharey="row")
    for run, (losses, iou) in zip(runs, axes.T, strict=True):
        names = sorted({name for line in run.metrics for name in line if name.startswith("loss/")})
        for name in names:
            losses.plot(*run.curve("train", name), label=name.removeprefix("loss/").replace("_", " "))
        losses.set(title=run.title, xlabel="iteration")
        losses.legend()
        steps, values = run.curve("evaluation", "mean_iou")
        iou.plot(steps, [100 * value for value in values], "o-")
        iou.set(xlabel="iteration")
    for row in axes:
        row[0].set_ylim(bottom=0)  # last: it holds for the whole row, which shares the axis
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("mean IoU on the evaluation images, %")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _legend(label_space: LabelSpace) -> str:
    entries = zip(label_space.names, label_space.colors, strict=True)
    return "<p class=legend>" + "".join(
        f"<span><i class=swatch style='background:rgb{tuple(color)}'></i>{html.escape(name)}</span>"
        for name, color in entries
    ) + "</p>"  # fmt: skip


def _picture_grid(runs: Sequence[Run], records: str, label_space: LabelSpace, count: int) -> str:
    shown = [runs[0], runs[-1]] if len(runs) > 1 else [runs[0]]
    predictors = [
        Predictor(checkpoint.load_segmenter(run.directory), *checkpoint.input_size(run.directory, 0, 0))
        for run in shown
    ]
    titles = ["image", "truth", *(run.title for run in shown)]
    cells = [f"<b>{html.escape(title)}</b>" for title in titles]
    for image, label in _examples(records, label_space, count):
        class_maps = [label, *(predictor(image) for predictor in predictors)]
        # What the truth leaves out is shown as it was predicted: that is what a user of the model gets.
        for picture in (image, *(colorize(class_map, label_space) for class_map in class_maps)):
            cells.append(f"<img alt='' src='{_data_url(images.encode_png(picture))}'>")
    columns = f"grid-template-columns: repeat({len(titles)}, 1fr)"
    return f"<div class=pictures style='{columns}'>{''.join(cells)}</div>"


def _examples(records: str, label_space: LabelSpace, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields images and labels at their own size, evenly taken from the records."""
    total = Manifest.load(records).num_records
    wanted = set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())
    for index, batch in enumerate(pipeline.evaluation_dataset(records, label_space, batch_size=1)):
        if index in wanted:
            yield batch["image"][0].numpy().astype(np.uint8), batch["label"][0].numpy()


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
