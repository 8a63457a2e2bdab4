"""Plots of runs, as PNGs."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fada_tf.data.labels import LabelSpace
from fada_tf.reporting.runs import Run

plain_text = matplotlib.rc_context({"text.parse_math": False})  # names may have dollar signs


@plain_text
def curves(runs: Sequence[Run]) -> bytes:
    """Draws the losses of every run, and mean IoU while it trained."""
    figure = Figure(figsize=(4 * len(runs), 6), layout="constrained")
    axes = figure.subplots(2, len(runs), squeeze=False, sharex="col", sharey="row")
    for run, (losses, iou) in zip(runs, axes.T, strict=True):
        names = sorted({name for line in run.metrics for name in line if name.startswith("loss/")})
        for name in names:
            losses.plot(*run.curve("train", name), label=name.removeprefix("loss/").replace("_", " "))
        losses.set(title=run.title)
        if names:
            losses.legend(loc="upper right", ncols=2, fontsize="small")
        steps, values = run.curve("evaluation", "mean_iou")
        iou.plot(steps, [100 * value for value in values], "o-")
        iou.set(xlabel="iteration")
    for (first, *_), above in zip(axes, (0.6, 0.1), strict=True):  # the legends need room
        first.margins(y=above)
        first.autoscale(axis="y")
        first.set_ylim(bottom=0)  # last: it holds for the whole row, which shares the axis
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("mean IoU on the evaluation images, %")
    return _png(figure)


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
