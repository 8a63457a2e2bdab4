"""Plots of runs, as PNGs."""

import functools
import io
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from fada_tf.config import NETWORKS
from fada_tf.data.labels import LabelSpace
from fada_tf.reporting.runs import Run

plain_text = matplotlib.rc_context({"text.parse_math": False})  # names may have dollar signs


@plain_text
def curves(runs: Sequence[Run], label_space: LabelSpace) -> tuple[bytes, tuple[int, int]]:
    """Draws the losses of every run, mean IoU while it trained, and what else its method has watched.

    Returns:
      A PNG, and its width and height in pixels.
    """
    rows: list[tuple[str, Callable[[Run, Axes], None]]] = [
        ("loss", _losses),
        ("mean IoU on the evaluation images, %", _mean_iou),
    ]
    if any(map(_watched, runs)):
        rows.append(("watched", _shares))
    if any(class_shares(run, label_space) for run in runs):
        rows.append(("share of pseudo labels, by class", functools.partial(_histogram, label_space=label_space)))
    figure = Figure(figsize=(4 * len(runs), 3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(runs), squeeze=False, sharex="col", sharey="row")
    for of_row, (title, draw) in zip(axes, rows, strict=True):
        for run, ax in zip(runs, of_row, strict=True):
            draw(run, ax)
        of_row[0].set_ylabel(title)
    for run, column in zip(runs, axes.T, strict=True):
        column[0].set(title=run.title)
        column[-1].set(xlabel="iteration")
    for of_row, above in zip(axes, (0.6, 0.1, 0.6), strict=False):  # the legends need room
        highest = max((ax.dataLim.y1 for ax in of_row if ax.has_data()), default=0.0)
        of_row[0].set_ylim(0, (1 + above) * highest if highest > 0 else 1)  # of the whole row, which shares the axis
    return _png(figure)


def class_shares(run: Run, label_space: LabelSpace) -> dict[str, tuple[list[int], list[float]]]:
    """Returns iterations and shares of pseudo labels of every class; none of a method that has no such labels."""
    names = [f"watched/pseudo_label_share/{place}" for place in range(label_space.num_classes)]
    found = {name: run.curve("train", name) for name in names}
    return found if all(steps for steps, _ in found.values()) else {}


def _losses(run: Run, ax: Axes) -> None:
    _lines(run, ax, "train", sorted({name for line in run.metrics for name in line if name.startswith("loss/")}))


def _mean_iou(run: Run, ax: Axes) -> None:
    own = [name for network in NETWORKS if run.curve("evaluation", name := f"{network}/mean_iou")[0]]
    for name in own or ["mean_iou"]:
        steps, values = run.curve("evaluation", name)
        ax.plot(steps, [100 * value for value in values], "o-", label=name.partition("/")[0])
    if own:
        ax.legend(loc="lower right", fontsize="small")


def _watched(run: Run) -> list[str]:
    """Returns what a method has watched, but for what it has watched of each class."""
    names = {name for line in run.metrics for name in line if name.startswith("watched/")}
    return sorted(name for name in names if name.count("/") == 1)


def _shares(run: Run, ax: Axes) -> None:
    _lines(run, ax, "train", _watched(run))


def _lines(run: Run, ax: Axes, kind: str, names: Sequence[str]) -> None:
    for name in names:
        ax.plot(*run.curve(kind, name), label=name.partition("/")[2].replace("_", " "))
    if names:
        ax.legend(loc="upper right", ncols=2, fontsize="small")


def _histogram(run: Run, ax: Axes, label_space: LabelSpace) -> None:
    if shares := class_shares(run, label_space):
        colors = [np.array(color) / 255 for color in label_space.colors]
        (steps, *_), values = zip(*shares.values(), strict=True)
        ax.stackplot(steps, *values, colors=colors)
        ax.set_ylim(0, 1)


def _png(figure: Figure) -> tuple[bytes, tuple[int, int]]:
    """Returns a PNG of few colours, a third of the bytes of all, with its width and height."""
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")  # or labels would be cut off
    with Image.open(buffer) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        return small.getvalue(), picture.size
