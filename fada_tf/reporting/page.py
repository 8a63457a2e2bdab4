"""One self-contained HTML page that compares runs: scores, settings, curves, confusion, features, pictures."""

from collections.abc import Callable, Sequence

import numpy as np

from fada_tf.data.labels import LabelSpace
from fada_tf.reporting import gallery, markup, plots, tables
from fada_tf.reporting.examples import Examples, choose
from fada_tf.reporting.markup import Section, cell, escaped, line
from fada_tf.reporting.runs import Run, common_label_space
from fada_tf.reporting.tables import ScoreRow

_WIDEST_SHEET = 1440  # pixels of what a method made, several pictures side by side


def write_page(
    title: str, runs: Sequence[Run], records: str, num_pictures: int, progress: Callable[[], object] = lambda: None
) -> str:
    """Returns the page.

    Args:
      title: its heading.
      runs: in order; pictures show the first one as before and the last one as after.
      records: the folder of labelled shards that all were scored on.
      num_pictures: how many of the best and how many of the worst; 0 for a page without any.
      progress: called after every image that is scored for them.

    Raises:
      InputError: the runs' classes differ.
    """
    label_space = common_label_space(runs)
    examples = choose(runs, records, label_space, num_pictures, progress) if num_pictures else None
    sections = [
        Section("scores", "Intersection over union", _scores(runs, label_space, examples)),
        Section("features", "Features", _features(runs, label_space)),
        Section("training", "Training", _training(runs, label_space)),
        Section("confusion", "Confusion", _confusion(runs, label_space)),
        Section("pictures", "Pictures", gallery.gallery(examples, label_space) if examples and examples.rows else ""),
    ]
    return markup.page(title, sections)


def _scores(runs: Sequence[Run], label_space: LabelSpace, examples: Examples | None) -> str:
    titles = [run.title for run in runs]
    lines = [
        _score_line(row, gallery.class_settings(examples, place, row.name))
        for place, row in enumerate(tables.class_rows(runs, label_space))
    ]
    totals = [_score_line(row) for row in tables.summary_rows(runs)]
    note = f"{runs[0].scores['images']} images of {runs[0].scores['records']}; the best of a row is bold."
    parts = [markup.table("classes", "IoU of every class, %", ["class", *titles], lines, totals)]
    parts.append(f"<p class=note>{escaped(note)}</p>")
    if rows := tables.condition_rows(runs):
        lines = [_score_line(row, gallery.condition_settings(examples, *row.condition)) for row in rows]
        parts.append(markup.table("conditions", "Mean IoU by condition, %", ["condition", *titles], lines))
    return "".join(parts)


def _score_line(row: ScoreRow, settings: str = "") -> str:
    bars = [None if value is None or row.lower_is_better else value / 100 for value in row.values]
    best = ["best" if place == row.best else "" for place in range(len(bars))]
    return line(row.name, [cell(*values) for values in zip(row.texts(), best, bars, strict=True)], settings)


def _features(runs: Sequence[Run], label_space: LabelSpace) -> str:
    rows = tables.ccd_rows(runs, label_space)
    if not rows:
        return ""
    ccd = next(run.ccd for run in runs if run.ccd)
    count = f"on at most {ccd['images']} images" if ccd["images"] else "on all images"
    stride = f", on the map of stride {ccd['stride']}" if "stride" in ccd else ""
    note = (
        "Class center distance of the features over both domains: the spread of a class over its distance to the other "
        f"classes. Lower is better. Measured {count} of each domain, {ccd['source']} and {ccd['target']}, at "
        f"{ccd['width']}x{ccd['height']}{stride}."
    )
    header = ["class", *(run.title for run in runs)]
    table = markup.table("distances", "Class center distance", header, [_score_line(row) for row in rows])
    return f"<p>{escaped(note)}</p>{table}"


def _training(runs: Sequence[Run], label_space: LabelSpace) -> str:
    curves, size = plots.curves(runs, label_space)
    picture = markup.picture("curves of every run while it trained", curves, "png", size, "plot")
    area = f"<div class='wide curves' style=--columns:{len(runs)} role=region tabindex=0 aria-label=Curves>"
    parts = [_settings(runs), f"{area}{picture}</div>"]
    return "".join([*parts, _learned(runs, label_space), _differences(runs)])


def _settings(runs: Sequence[Run]) -> str:
    names = ("method", "backbone", "images", "batch", "iterations", "seconds a step", "initial weights")
    lines = []
    for run in runs:
        config = run.config
        domain = config.data.source if config.data.source.records else config.data.target
        values = (
            config.method.name,
            config.model.backbone,
            f"{domain.width}×{domain.height}",
            config.training.batch_size,
            run.iterations,
            "–" if run.seconds_per_step is None else f"{run.seconds_per_step:.2f}",
        )
        weights = cell(config.model.initial_weights or "random", "long")
        lines.append(line(run.title, [*map(cell, values), weights]))
    return markup.table("runs", "Runs", ["run", *names], lines, kind="settings")


def _differences(runs: Sequence[Run]) -> str:
    rows = tables.config_differences(runs)
    if not rows:
        return ""
    lines = [line(name, [cell("–" if value == "" else value, "long") for value in values]) for name, values in rows]
    return markup.table(
        "settings", "Settings that differ", ["field", *(run.title for run in runs)], lines, kind="settings"
    )


def _learned(runs: Sequence[Run], label_space: LabelSpace) -> str:
    """Returns the colours of the pseudo labels' curves, and the pictures that the methods made and learned from."""
    made = [(f"{run.title}: {name}", pixels) for run in runs for name, pixels in run.made_pictures.items()]
    if not made and not any(plots.class_shares(run, label_space) for run in runs):
        return ""
    parts = [gallery.legend(label_space)]
    if made:
        parts.append(
            "<p>What is learned beside images as they are: a few as they were at the last time that pictures were "
            "written, the label of every pixel, and its weight: white counts 1, black 0. What is hidden is grey.</p>"
        )
    for place, (heading, pixels) in enumerate(made):
        sheet = gallery.image(heading, pixels, _WIDEST_SHEET)
        parts.append(f"<details open id=made-{place}><summary>{escaped(heading)}</summary>{sheet}</details>")
    return "".join(parts)


def _confusion(runs: Sequence[Run], label_space: LabelSpace) -> str:
    """Returns a table for each run: which share of a true class's pixels was predicted as what."""
    parts = ["<p>Share of each true class's pixels, in %, by prediction; from 1 % on.</p><div class=matrices>"]
    for place, run in enumerate(runs):
        counts = np.array(run.scores["confusion"], float)
        shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        lines = [
            line(name, [_share(share) for share in of_class])
            for name, of_class in zip(label_space.names, shares, strict=True)
        ]
        header = ["true class", *label_space.names]
        parts.append(markup.table(f"confusion-{place}", run.title, header, lines, kind="matrix"))
    return "".join([*parts, "</div>"])


def _share(share: float) -> str:
    """Returns a cell as dark as the share, in %, is high."""
    return cell(f"{share:.0f}", f"s{round(share / 10)}") if share >= 1 else cell("")
