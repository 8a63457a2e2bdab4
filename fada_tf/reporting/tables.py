"""Numbers of several runs side by side."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from fada_tf import config_fields, schema
from fada_tf.config import Config
from fada_tf.data.labels import LabelSpace
from fada_tf.evaluation.confusion import TITLES
from fada_tf.reporting.runs import Run


@dataclasses.dataclass(frozen=True)
class ScoreRow:
    """One number of every run.

    Attributes:
      name: of the number.
      values: in % where they are shares; None where a run lacks it.
      digits: after the point.
      lower_is_better: whether it is.
      condition: name and value of the condition that it is of; none of other numbers.
    """

    name: str
    values: list[float | None]
    digits: int = 1
    lower_is_better: bool = False
    condition: tuple[str, str] = ("", "")

    @property
    def best(self) -> int | None:
        """The place of the one best value, if there is one and something to compare it with."""
        known = [value for value in self.values if value is not None]
        if len(known) < 2:
            return None
        wanted = (min if self.lower_is_better else max)(known)
        return self.values.index(wanted) if known.count(wanted) == 1 else None

    def texts(self) -> list[str]:
        """Returns the values for people."""
        return ["–" if value is None else f"{value:.{self.digits}f}" for value in self.values]


def class_rows(runs: Sequence[Run], label_space: LabelSpace) -> list[ScoreRow]:
    """Returns the IoU of every class."""
    return [_percent(name, [run.scores["class_iou"][name] for run in runs]) for name in label_space.names]


def summary_rows(runs: Sequence[Run]) -> list[ScoreRow]:
    """Returns mean IoU, of subsets of the classes and of the multi-scale test too, the other scores and mean CCD."""
    rows = [_percent("mean IoU", [run.scores["mean_iou"] for run in runs])]
    subsets = [run.scores.get("subset_mean_iou", {}) for run in runs]
    for count in dict.fromkeys(count for own in subsets for count in own):
        rows.append(_percent(f"mean IoU, {count} classes", [own.get(count) for own in subsets]))
    rows.append(
        _percent("mean IoU, multi-scale", [run.multi_scale["mean_iou"] if run.multi_scale else None for run in runs])
    )
    for score, name in TITLES.items():
        if score != "mean_iou":
            row = _percent(name, [run.scores.get(score) for run in runs])
            rows.append(dataclasses.replace(row, lower_is_better=score == "expected_calibration_error"))
    ccd = [run.ccd["mean_ccd"] if run.ccd else None for run in runs]
    rows.append(ScoreRow("mean CCD", ccd, digits=2, lower_is_better=True))
    return [row for row in rows if any(value is not None for value in row.values)]


def condition_rows(runs: Sequence[Run]) -> list[ScoreRow]:
    """Returns the mean IoU of the images of each weather, city and so on that a run was scored by."""
    parts = [
        {(name, value): scores["mean_iou"] for name, values in own.items() for value, scores in values.items()}
        for own in (run.scores.get("by_condition", {}) for run in runs)
    ]
    names = dict.fromkeys(name for own in parts for name in own)
    return [
        dataclasses.replace(_percent(" ".join(place), [own.get(place) for own in parts]), condition=place)
        for place in names
    ]


def ccd_rows(runs: Sequence[Run], label_space: LabelSpace) -> list[ScoreRow]:
    """Returns the class center distance of every class; nothing where no run was analysed."""
    if not any(run.ccd for run in runs):
        return []
    return [
        ScoreRow(name, [run.ccd["ccd"].get(name) if run.ccd else None for run in runs], 2, lower_is_better=True)
        for name in label_space.names
    ]


def config_differences(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """Returns (field, a value for each run) of every field of the config that is not the same in all runs.

    The value is empty where a run's method has no such setting, or its other settings leave this one without effect.
    """
    configs = [_effective(run.config) for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    rows = [(name, [config.get(name, "") for config in configs]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]


def _effective(config: Config) -> dict[str, Any]:
    idle = schema.without_effect(config)
    fields = config_fields.flatten(config).items()
    return {name: value for name, value in fields if not any(f"{name}.".startswith(f"{each}.") for each in idle)}


def paper_table(runs: Sequence[Run], label_space: LabelSpace) -> str:
    """Returns Markdown as papers print it: a line for each run, a column for each class, the best in bold.

    Where runs were scored by condition, a second table has a column for each.
    """
    tables = [_markdown(runs, [*class_rows(runs, label_space), *summary_rows(runs)])]
    if rows := condition_rows(runs):
        tables.append(_markdown(runs, rows))
    note = f"IoU and accuracy in %, on {runs[0].scores['records']}; {runs[0].scores['images']} images.\n"
    return "\n\n".join([*tables, note])


def _markdown(runs: Sequence[Run], rows: Sequence[ScoreRow]) -> str:
    header = ["", *(row.name for row in rows)]
    lines = [header, ["---", *(["---:"] * len(rows))]]
    for index, run in enumerate(runs):
        cells = [f"**{row.texts()[index]}**" if row.best == index else row.texts()[index] for row in rows]
        lines.append([run.title, *cells])
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _percent(name: str, values: Sequence[float | None]) -> ScoreRow:
    return ScoreRow(name, [None if value is None else 100 * value for value in values])
