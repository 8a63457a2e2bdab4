"""Progress bars: on a terminal and in a notebook tqdm's; elsewhere, as in log files, a line a minute, which stays."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import tqdm

_SECONDS = 60.0  # between lines
_LINE = "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"
_Item = TypeVar("_Item")


def is_live() -> bool:
    """Tells whether standard error is a terminal or a notebook, where a line can be written over."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel.")


def bar(total: int, description: str, unit: str = "it", *, bar_format: str | None = None, **options: Any) -> Any:
    """Returns a progress bar on standard error, to be used in a `with` statement or closed.

    Args:
      total: steps until the end.
      description: before the numbers.
      unit: what a step is, in the singular.
      bar_format: of the line, see tqdm.
      **options: of tqdm, which lines in a log do without, but `disable=True`: there is no bar, and `leave=False`: nor a
        last line.

    Returns:
      An object with tqdm's `update(steps)`, `set_description_str(text)`, `close()` and `n`, the steps done.
    """
    if is_live() or options.get("disable"):
        return tqdm.tqdm(total=total, desc=description, unit=unit, bar_format=bar_format, **options)
    return LogLines(total, description, unit, bar_format, leave=options.get("leave", True))


def track(items: Iterable[_Item], total: int, description: str, unit: str = "it") -> Iterator[_Item]:
    """Yields the items, and shows how many have been."""
    with bar(total, description, unit) as shown:
        for item in items:
            yield item
            shown.update()


class LogLines:
    """What a bar is in a log: whole lines, at most one a minute, and a last one.

    Attributes:
      n: steps done.
    """

    def __init__(self, total: int, description: str, unit: str, bar_format: str | None = None, *, leave: bool = True):
        """Begins; for the arguments see `bar`."""
        self.n, self._total, self._description, self._unit = 0, total, description, unit
        self._format, self._leave = bar_format or _LINE, leave
        self._start = self._last = time.monotonic()
        self._written = ""

    def update(self, steps: int = 1) -> None:
        """Counts steps."""
        self.n += steps
        self._write_if_due()

    def set_description_str(self, text: str) -> None:
        """Changes the text before the numbers."""
        self._description = text
        self._write_if_due()

    def close(self) -> None:
        """Writes the last line, unless it is there."""
        if self._leave and self._line() != self._written:
            self._write()
        self._leave = False

    def __enter__(self) -> "LogLines":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_if_due(self) -> None:
        if time.monotonic() - self._last >= _SECONDS:
            self._write()

    def _write(self) -> None:
        self._last, self._written = time.monotonic(), self._line()
        sys.stderr.write(f"{self._written}\n")
        sys.stderr.flush()

    def _line(self) -> str:
        seconds = time.monotonic() - self._start
        options = {"prefix": self._description, "unit": self._unit, "bar_format": self._format}
        return tqdm.tqdm.format_meter(self.n, self._total, seconds, **options)
