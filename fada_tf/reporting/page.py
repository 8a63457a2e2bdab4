"""One self-contained HTML page that compares runs: scores, settings, curves, confusion, features, pictures."""

import base64
import html
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from fada_tf.data.labels import LabelSpace
from fada_tf.reporting import plots, tables
from fada_tf.reporting.examples import Example, Examples, choose
from fada_tf.reporting.runs import Run, common_label_space
from fada_tf.reporting.tables import ScoreRow

_WIDEST = 480  # pixels of a picture in the page
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 90rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
table.settings td { overflow-wrap: anywhere; }
tr.total td { font-weight: 600; }
tr.first td { border-top: 2px solid #222; }
td.best { background: #e3f3e3; }
img { max-width: 100%; }
.wide { overflow-x: auto; }
.pictures { display: grid; gap: .4rem; align-items: end; }
.pictures img { width: 100%; display: block; }
.pictures p { grid-column: 1 / -1; margin: .4rem 0 0; font-size: .85rem; overflow-wrap: anywhere; }
.swatch { display: inline-block; width: .9em; height: .9em; margin-right: .4em; vertical-align: -.1em; }
.legend span { margin-right: 1.2em; white-space: nowrap; }
small { color: #666; }
"""


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
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        f"<h2>Intersection over union, %</h2>{_score_table(runs, label_space)}{_conditions_section(runs)}",
        _image("IoU of every class", plots.class_bars(runs, label_space)),
        _ccd_section(runs, label_space),
        f"<h2>Training</h2>{_settings_table(runs)}{_image('curves', plots.curves(runs, label_space))}",
        _learned_section(runs, label_space),
        _differences_section(runs),
        "<h2>Confusion</h2><p>Share of each true class's pixels, in %, by prediction; from 5 % on.</p>",
        _image("confusion matrices", plots.confusion(runs, label_space)),
    ]
    if num_pictures:
        examples = choose(runs, records, label_space, num_pictures, progress)
        sections.append(_pictures_section(examples, label_space))
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(sections)}</body></html>\n"


def _table(header: Sequence[str], lines: Sequence[str], kind: str = "") -> str:
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in header)
    return f"<div class=wide><table class='{kind}'><tr>{cells}</tr>{''.join(lines)}</table></div>"


def _line(cells: Sequence[object], kind: str = "", best: int | None = None) -> str:
    shaded = [" class=best" if index - 1 == best else "" for index in range(len(cells))]
    text = "".join(f"<td{mark}>{html.escape(str(cell))}</td>" for cell, mark in zip(cells, shaded, strict=True))
    return f"<tr class='{kind}'>{text}</tr>"


def _score_line(row: ScoreRow, kind: str = "") -> str:
    return _line([row.name, *row.texts()], kind, row.best)


def _score_table(runs: Sequence[Run], label_space: LabelSpace) -> str:
    lines = [_score_line(row) for row in tables.class_rows(runs, label_space)]
    for index, row in enumerate(tables.summary_rows(runs)):
        lines.append(_score_line(row, "total" if index else "total first"))
    scores = runs[0].scores
    note = f"{scores['images']} images of {scores['records']}; the best of a row is shaded."
    return _table(["class", *(run.title for run in runs)], lines) + f"<small>{html.escape(note)}</small>"


def _conditions_section(runs: Sequence[Run]) -> str:
    rows = tables.condition_rows(runs)
    if not rows:
        return ""
    table = _table(["condition", *(run.title for run in runs)], [_score_line(row) for row in rows])
    return f"<details open><summary>Mean IoU by condition, %</summary>{table}</details>"


def _ccd_section(runs: Sequence[Run], label_space: LabelSpace) -> str:
    rows = tables.ccd_rows(runs, label_space)
    if not rows:
        return ""
    note = (
        "<p>Class center distance of the features over both domains: the spread of a class over its distance to the "
        "other classes. Lower is better. "
    )
    ccd = next(run.ccd for run in runs if run.ccd)
    count = f"on at most {ccd['images']} images" if ccd["images"] else "on all images"
    stride = f", on the map of stride {ccd['stride']}" if "stride" in ccd else ""
    note += html.escape(f"Measured {count} of each domain, {ccd['source']} and {ccd['target']}") + (
        f", at {ccd['width']}x{ccd['height']}{stride}.</p>"
    )
    table = _table(["class", *(run.title for run in runs)], [_score_line(row) for row in rows])
    return f"<h2>Features</h2>{note}<details open><summary>by class</summary>{table}</details>"


def _settings_table(runs: Sequence[Run]) -> str:
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
            config.model.initial_weights or "random",
        )
        lines.append(_line([run.title, *values]))
    return _table(["run", *names], lines)


def _differences_section(runs: Sequence[Run]) -> str:
    rows = tables.config_differences(runs)
    if not rows:
        return ""
    lines = [_line([name, *("–" if value == "" else value for value in values)]) for name, values in rows]
    table = _table(["field", *(run.title for run in runs)], lines, "settings")
    return f"<details open><summary>Settings that differ</summary>{table}</details>"


def _learned_section(runs: Sequence[Run], label_space: LabelSpace) -> str:
    """Returns the colours of the pseudo labels' curves, and the pictures that the methods made and learned from."""
    made = [(run.title, name, pixels) for run in runs for name, pixels in run.made_pictures.items()]
    if not made and not any(plots.class_shares(run, label_space) for run in runs):
        return ""
    parts = [_legend(label_space)]
    if made:
        parts.append(
            "<p>What is learned beside images as they are: a few as they were at the last time that pictures were "
            "written, the label of every pixel, and its weight: white counts 1, black 0. What is hidden is grey.</p>"
        )
    for title, name, pixels in made:
        heading = html.escape(f"{title}: {name}")
        url = _picture_url(pixels, photo=False, widest=3 * _WIDEST)
        parts.append(f"<details open><summary>{heading}</summary><img alt='{heading}' src='{url}'></details>")
    return "".join(parts)


def _legend(label_space: LabelSpace) -> str:
    entries = zip(label_space.names, label_space.colors, strict=True)
    return "<p class=legend>" + "".join(
        f"<span><i class=swatch style='background:rgb{tuple(color)}'></i>{html.escape(name)}</span>"
        for name, color in entries
    ) + "</p>"  # fmt: skip


def _pictures_section(examples: Examples, label_space: LabelSpace) -> str:
    note = "<p>Errors are red; black has no label."
    if any(title.startswith("discriminator") for title in examples.titles):
        note += " The discriminator takes red pixels for target, blue ones for source; white ones it cannot tell."
    parts = [f"<h2>Pictures</h2>{_legend(label_space)}{note}</p>"]
    for heading, rows in (("Best", examples.best), ("Worst", examples.worst)):
        parts.append(f"<h3>{heading}</h3>{_grid(examples.titles, rows)}")
    return "".join(parts)


def _grid(titles: Sequence[str], rows: Sequence[Example]) -> str:
    cells = [f"<b>{html.escape(title)}</b>" for title in titles]
    for row in rows:
        cells.append(f"<p>{html.escape(row.name)}: mean IoU {100 * row.mean_iou:.1f} %</p>")
        for index, picture in enumerate(row.pictures):
            cells.append(f"<img alt='{html.escape(titles[index])}' src='{_picture_url(picture, photo=index == 0)}'>")
    columns = f"grid-template-columns: repeat({len(titles)}, minmax(0, 1fr))"
    return f"<div class=pictures style='{columns}'>{''.join(cells)}</div>"


def _picture_url(pixels: np.ndarray, *, photo: bool, widest: int = _WIDEST) -> str:
    """Returns a picture for the page: photos as JPEG, class colours, which must stay exact, as PNG."""
    picture = Image.fromarray(pixels)
    if picture.width > widest:
        size = (widest, round(picture.height * widest / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS if photo else Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if photo else "PNG", quality=85)
    return _data_url(buffer.getvalue(), "jpeg" if photo else "png")


def _image(name: str, png: bytes) -> str:
    return f"<img alt='{name}' src='{_data_url(png, 'png')}'>"


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
