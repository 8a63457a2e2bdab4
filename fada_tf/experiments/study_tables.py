"""The tables of a study: mean and spread over its seeds, as Markdown, a page, JSON and CSV."""

import csv
import dataclasses
import io
import json
import statistics
from collections.abc import Mapping, Sequence

from fada_tf.data import files
from fada_tf.reporting import markup


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured of a row.

    Attributes:
      title: of the row.
      iterations: of its training and of those before it.
      by_seed: the metrics by name: "mean_iou" and "iou/CLASS" in 0..1, "ccd", "minutes", "gigabytes" (10^9 bytes) and
        so on.
      control: the row that it is compared with.
    """

    title: str
    iterations: int
    by_seed: dict[int, dict[str, float]]
    control: "Result | None" = None

    @property
    def names(self) -> list[str]:
        """Names of the metrics that any seed has."""
        return list(dict.fromkeys(name for metrics in self.by_seed.values() for name in metrics))

    def of(self, name: str) -> list[float]:
        """Returns one metric of every seed that has it."""
        return [metrics[name] for metrics in self.by_seed.values() if name in metrics]

    @property
    def gains(self) -> list[float]:
        """Mean IoU above the control's, of every seed that both have."""
        if self.control is None:
            return []
        mean_iou, control = (
            {seed: metrics["mean_iou"] for seed, metrics in result.by_seed.items() if "mean_iou" in metrics}
            for result in (self, self.control)
        )
        return [mean_iou[seed] - control[seed] for seed in mean_iou if seed in control]


def _mean_and_spread(values: Sequence[float]) -> dict[str, float | None]:
    """Returns mean and sample standard deviation; None where there are too few values."""
    return {
        "mean": statistics.fmean(values) if values else None,
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


def _cell(values: Sequence[float], scale: float, digits: int, sign: str = "") -> str:
    spread = _mean_and_spread([scale * value for value in values])
    if spread["mean"] is None:
        return ""
    text = f"{spread['mean']:{sign}.{digits}f}"
    return text if spread["standard_deviation"] is None else f"{text} ± {spread['standard_deviation']:.{digits}f}"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
      name: of it, in addresses of the page.
      title: what it shows.
      header: of the columns; the first one's stands over the headings of the lines.
      lines: each with its heading first.
    """

    name: str
    title: str
    header: list[str]
    lines: list[list[str]]


def tables(rows: Sequence[Result]) -> list[Table]:
    """Returns the table of all rows, and those of classes and conditions where any are scored."""
    subsets = list(dict.fromkeys(n for result in rows for n in result.names if n.startswith("mean_iou_")))
    header = ["", "iterations", "seeds", "mean IoU", *(f"mean IoU, {name[9:]} classes" for name in subsets)]
    header += ["above control", "boundary IoU", "pixel accuracy", "ECE", "CCD", "minutes", "GB"]
    lines = []
    for result in rows:
        cells = [result.title, f"{result.iterations:,}", str(len(result.by_seed))]
        cells += [_cell(result.of(name), 100, 1) for name in ("mean_iou", *subsets)]
        cells.append(_cell(result.gains, 100, 1, "+"))
        shares = "boundary_iou", "pixel_accuracy", "expected_calibration_error"
        cells += [_cell(result.of(name), 100, 1) for name in shares]
        cells.append(_cell(result.of("ccd"), 1, 2))
        lines.append([*cells, *(_cell(result.of(name), 1, 1) for name in ("minutes", "gigabytes"))])
    parts = [_of_each(rows, "classes", "IoU", "iou/"), _of_each(rows, "conditions", "mean IoU", "condition/")]
    return [Table("rows", "Rows", header, lines), *(part for part in parts if part.lines)]


def _of_each(rows: Sequence[Result], name: str, metric: str, prefix: str) -> Table:
    """Returns a table of all metrics of a prefix, a column for each row of the study."""
    names = list(dict.fromkeys(n for result in rows for n in result.names if n.startswith(prefix)))
    lines = [[each.removeprefix(prefix), *(_cell(result.of(each), 100, 1) for result in rows)] for each in names]
    return Table(name, f"{metric} of {name}, %", [metric, *(result.title for result in rows)], lines)


def _note(records: str) -> str:
    return (
        f"Scored on {records}; IoU, accuracy and ECE in %, mean ± standard deviation over seeds. The control has as "
        "many iterations in total, and is compared seed by seed. Boundary IoU: mean IoU of the pixels within 5 of "
        "another class. ECE: expected calibration error, and CCD: class center distance, lower is better. Minutes and "
        "GB: of the training and those that it starts from, on the machine that ran them, and the most memory that a "
        "process held."
    )


def as_markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *lines])


def markdown(name: str, records: str, rows: Sequence[Result]) -> str:
    """Returns all tables of a study, scored on these records, for a README or a paper."""
    parts = []
    for table in tables(rows):
        parts.append(as_markdown(table.header, table.lines))
    return "\n\n".join([f"# {name}", *parts, _note(records)]) + "\n"


def as_page(name: str, records: str, rows: Sequence[Result]) -> str:
    """Returns all tables of a study, scored on these records, as a page in which they sort."""
    parts = []
    for table in tables(rows):
        lines = [markup.line(heading, [markup.cell(text) for text in cells]) for heading, *cells in table.lines]
        parts.append(markup.table(table.name, table.title, [table.header[0] or "row", *table.header[1:]], lines))
    content = f"{''.join(parts)}<p class=note>{markup.escaped(_note(records))}</p>"
    return markup.page(name, [markup.Section("scores", "Scores", content)])


def as_json(head: Mapping[str, str], rows: Sequence[Result]) -> str:
    """Returns what the study is and everything that was measured, with mean and spread."""
    entries = []
    for result in rows:
        summary = {name: _mean_and_spread(result.of(name)) for name in result.names}
        if result.control is not None:
            summary["mean_iou_above_control"] = _mean_and_spread(result.gains)
        entries.append(
            {
                "title": result.title,
                "control": result.control and result.control.title,
                "iterations": result.iterations,
                "summary": summary,
                "seeds": {str(seed): metrics for seed, metrics in result.by_seed.items()},
            }
        )
    return files.json_text({**head, "rows": entries}, indent=1)


def from_json(text: str) -> list[Result]:
    """Returns the rows of what `as_json` has written."""
    by_title: dict[str, Result] = {}
    for row in json.loads(text)["rows"]:
        by_seed = {int(seed): metrics for seed, metrics in row["seeds"].items()}
        by_title[row["title"]] = Result(row["title"], row["iterations"], by_seed, by_title.get(row["control"]))
    return list(by_title.values())


def as_csv(rows: Sequence[Result]) -> str:
    """Returns a line for each row and seed."""
    names = list(dict.fromkeys(name for result in rows for name in result.names))
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["row", "seed", "iterations", *names])
    for result in rows:
        for seed, metrics in result.by_seed.items():
            cells = [f"{metrics[name]:.6f}" if name in metrics else "" for name in names]
            writer.writerow([result.title, seed, result.iterations, *cells])
    return table.getvalue()
