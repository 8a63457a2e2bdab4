"""Feature vectors of both domains in the plane: are classes apart, and domains together?"""

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fada_tf.data.labels import LabelSpace
from fada_tf.evaluation.features import Sample
from fada_tf.reporting.plots import plain_text

_MARKERS = {"source": "o", "target": "^"}


def project(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns the vectors, [n, channels], as points in the plane, float32 [n, 2]: t-SNE of their principal parts."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    parts = min(50, *vectors.shape)
    reduced = PCA(parts, random_state=seed).fit_transform(vectors) if parts < vectors.shape[1] else vectors
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(2, init="pca", perplexity=perplexity, random_state=seed).fit_transform(reduced)


@plain_text
def draw(panels: Mapping[str, Mapping[str, Sample]], label_space: LabelSpace, notes: Mapping[str, str]) -> bytes:
    """Draws a panel for each run: colours are classes, filled dots the source, open triangles the target.

    Args:
      panels: by title, the samples of each domain.
      label_space: the classes.
      notes: by title, a few words below it.

    Returns:
      A PNG.
    """
    figure = Figure(figsize=(6.5 * len(panels) + 2, 6.5), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    colors = np.array(label_space.colors) / 255
    for ax, (title, samples) in zip(axes, panels.items(), strict=True):
        drawn = {domain: sample.vectors() for domain, sample in samples.items()}
        points = project(np.concatenate([vectors for vectors, _ in drawn.values()]))
        start = 0
        for domain, (vectors, classes) in drawn.items():
            x, y = points[start : start + len(vectors)].T
            start += len(vectors)
            style = {"facecolors": "none", "edgecolors": colors[classes], "linewidths": 1.1}
            if domain == "source":
                style = {"c": colors[classes], "linewidths": 0, "alpha": 0.6}
            ax.scatter(x, y, s=22, marker=_MARKERS[domain], **style)
        ax.set(title=f"{title}\n{notes.get(title, '')}", xticks=[], yticks=[])
    handles = [
        Line2D([], [], color=color, marker="s", linestyle="", label=name)
        for name, color in zip(label_space.names, colors, strict=True)
    ]
    handles += [
        Line2D([], [], color="black", marker="o", linestyle="", label="source"),
        Line2D([], [], color="black", marker="^", linestyle="", fillstyle="none", label="target"),
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
