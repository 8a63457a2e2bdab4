"""Plots of runs, as PNGs."""

import functools
import io
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fada_tf.config import NETWORKS
from fada_tf.data.labels import LabelSpace
from fada_tf.reporting.runs import Run

plain_text = matplotlib.rc_context({"text.parse_math": False})  # names may have dollar signs


@plain_text
def curves(runs: Sequence[Run], label_space: LabelSpace) -> bytes:
    """Draws the losses of every run, mean IoU while it trained, and what else its method has watched."""
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


@plain_text
def class_bars(runs: Sequence[Run], label_space: LabelSpace) -> bytes:
    """Draws the IoU of every class, a bar for each run."""
    figure = Figure(figsize=(max(8, 0.9 * label_space.num_classes), 3.6), layout="constrained")
    ax = figure.subplots()
    places, width = np.arange(label_space.num_classes), 0.85 / len(runs)
    for index, run in enumerate(runs):
        values = [100 * (run.scores["class_iou"][name] or 0) for name in label_space.names]
        ax.bar(places + (index - (len(runs) - 1) / 2) * width, values, width, label=run.title)
    ax.set_xticks(places, label_space.names, rotation=35, ha="right")
    ax.set_ylabel("IoU, %")
    ax.grid(axis="y", alpha=0.3)
    ax.legend(loc="upper right", frameon=False)
    return _png(figure)


@plain_text
def confusion(runs: Sequence[Run], label_space: LabelSpace) -> bytes:
    """Draws each run's confusion matrix: which share of a true class's pixels was predicted as what."""
    side = 0.8 + 0.32 * label_space.num_classes
    figure = Figure(figsize=(side * len(runs) + 1.6, side + 1.4), layout="constrained")
    axes = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    ticks = np.arange(label_space.num_classes)
    for run, ax in zip(runs, axes, strict=True):
        counts = np.array(run.scores["confusion"], float)
        shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in zip(*np.nonzero(shares >= 5), strict=True):
            color = "white" if shares[row, column] > 55 else "black"
            ax.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color)
        ax.set_xticks(ticks, label_space.names, rotation=90)
        ax.set(title=run.title, xlabel="predicted")
    axes[0].set_yticks(ticks, label_space.names)
    axes[0].set_ylabel("true")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")  # or labels would be cut off
    return buffer.getvalue()
