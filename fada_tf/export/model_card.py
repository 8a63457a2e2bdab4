"""The model card of a package: what people read of a model before they use it, and what the Hugging Face Hub reads."""

import json
from collections.abc import Sequence
from typing import Any

from fada_tf.config import Config
from fada_tf.data.labels import LabelSpace
from fada_tf.evaluation.confusion import TITLES
from fada_tf.models.segmenter import find_backbone

_TAGS = ("semantic-segmentation", "domain-adaptation", "tensorflow", "keras")
_TEXT = """\
# {name}

A semantic segmenter: it gives every pixel of a picture one of {count} classes. Its network is `{backbone}` with the
head `{head}`, trained by the method `{method}` of fada_tf{domains}.

## How to use it

```python
import fada_tf

model = fada_tf.load("FOLDER")  # this folder
mask = model.segment("photo.jpg")
mask.save("mask.png")
```

`mask.ids` are the classes' ids by pixel. The programs of fada_tf take the folder as a checkpoint:
`fada-tf predict --checkpoint=FOLDER --images=photos --output=predictions`. Settings and weights are read, and no code.

## Classes

| id | class | red, green, blue |
|---|---|---|
{classes}

## Training

| what | |
|---|---|
{training}

All settings are in `config.json`.

## Scores

{scores}

## Limits

Scores hold for pictures like those that they were measured on. Every pixel gets one of the classes, also where none
fits.

## Licence

{licence}
"""


def model_card(
    name: str,
    config: Config,
    label_space: LabelSpace,
    *,
    iterations: int,
    own_mean_iou: float | None,
    scores: Sequence[dict],
    license: str = "",
) -> str:
    """Returns the card, Markdown with the Hub's metadata on top.

    Args:
      name: of the model.
      config: of its run, with names in place of paths.
      label_space: its classes.
      iterations: that it was trained for.
      own_mean_iou: what the run's own evaluation found, 0..1; None: it was not evaluated.
      scores: the contents of scores.json files.
      license: as the Hub spells it; empty: none is known.
    """
    data, model = config.data, config.model
    domains = [
        f"{kind} `{domain.records}`" for kind, domain in (("source", data.source), ("target", data.target))
        if domain.records
    ]  # fmt: skip
    classes = zip(label_space.names, label_space.colors, strict=True)
    training = {
        "method": config.method.name,
        "source images": data.source.records,
        "target images": data.target.records,
        "initial weights": model.initial_weights,
        "iterations": f"{iterations:,}",
        "images a domain and iteration": config.training.batch_size,
        "evaluation size, width x height": f"{data.evaluation.width} x {data.evaluation.height}",
    }
    text = _TEXT.format(
        name=name,
        count=label_space.num_classes,
        backbone=model.backbone,
        head=model.head,
        method=config.method.name,
        domains=f" ({', '.join(domains)})" if domains else "",
        classes="\n".join(f"| {i} | {_cell(each)} | {', '.join(map(str, c))} |" for i, (each, c) in enumerate(classes)),
        training="\n".join(f"| {what} | {_cell(str(value))} |" for what, value in training.items() if value),
        scores=_scores(scores, own_mean_iou),
        licence=_licence(license, model.backbone),
    )
    return f"---\n{_metadata(name, config, scores, license)}\n---\n\n{text}"


def _metadata(name: str, config: Config, scores: Sequence[dict], license: str) -> str:
    """Returns the metadata as YAML, of which JSON is a part."""
    measured = [
        {
            "task": {"type": "image-segmentation", "name": "semantic segmentation"},
            "dataset": {"type": each["records"], "name": each["records"]},
            "metrics": [{"type": "mean_iou", "name": f"mean IoU ({_how(each)})", "value": each["mean_iou"]}],
        }
        for each in scores
        if each["mean_iou"] is not None
    ]
    values: dict[str, Any] = {"library_name": "fada_tf", "pipeline_tag": "image-segmentation"}
    values["tags"] = [*_TAGS, config.method.name]
    values |= {"license": license} if license else {}
    values |= {"model-index": [{"name": name, "results": measured}]} if measured else {}
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())


def _scores(scores: Sequence[dict], own_mean_iou: float | None) -> str:
    if not scores:
        own = (
            ""
            if own_mean_iou is None
            else f" In training, its own evaluation found a mean IoU of {_percent(own_mean_iou)} %."
        )
        return f"`fada-tf evaluate` did not score this checkpoint.{own}"
    head = [f"| records | images | seen at | {' | '.join(f'{name} %' for name in TITLES.values())} |"]
    head.append("|---" * (3 + len(TITLES)) + "|")
    rows = [
        f"| {_cell(each['records'])} | {each['images']:,} | {_how(each)} "
        f"| {' | '.join(_percent(each.get(share)) for share in TITLES)} |"
        for each in scores
    ]
    names = list(scores[0]["class_iou"])
    by_class = [
        f"| class | {' | '.join(_cell(each['records']) for each in scores)} |",
        "|---" * (len(scores) + 1) + "|",
    ]
    by_class += [
        f"| {_cell(name)} | {' | '.join(_percent(each['class_iou'].get(name)) for each in scores)} |" for name in names
    ]
    return "\n".join([*head, *rows, "", "IoU of the classes in %:", "", *by_class])


def _how(scores: dict) -> str:
    """Says how pictures were seen when they were scored."""
    size = f"{scores['width']} x {scores['height']}" if scores["height"] else "their own size"
    parts = [size]
    if scores["scales"] != [1.0]:
        parts.append(f"scales {', '.join(f'{scale:g}' for scale in scores['scales'])}")
    parts += ["mirrored too"] if scores["flip"] else []
    parts += [f"windows of {scores['window']}"] if scores.get("window") else []
    return "; ".join(parts)


def _licence(license: str, backbone: str) -> str:
    own = f"`{license}`." if license else "Its owner has not said under which licence it may be used."
    published = find_backbone(backbone).published
    notices = dict.fromkeys(form.notice for form in published)
    began = f" If its training began with published weights of the backbone: {'; '.join(notices)}." if notices else ""
    return own + began


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
