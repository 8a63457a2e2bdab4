"""What class-balanced sampling did before, so that a run that resumes need not compute it again."""

import contextlib
import json
import threading

from fada_tf.data import files


class Positions:
    """Where class-balanced sampling stood after whole sub-epochs: with it, no start computes again all draws before.

    Attributes:
      known: {digest of all that decides the draws: {sub-epoch: draws of each class before it}}.
      changed: whether `known` holds what `save` has not written.
    """

    def __init__(self, known: dict[str, dict[int, list[int]]] | None = None):
        """Takes over what is known."""
        self.known, self.changed = known or {}, False
        self._lock = threading.Lock()  # batches are made in a thread of their own

    @classmethod
    def load(cls, path: str) -> "Positions":
        """Returns what `save` wrote; none where that is missing or damaged, which costs time alone."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            values = files.read_json(path)
            return cls({key: {int(e): list(map(int, n)) for e, n in known.items()} for key, known in values.items()})
        return cls()

    def save(self, path: str) -> None:
        """Writes what became known since the last time, whole or not at all."""
        if not self.changed:
            return
        with self._lock:
            self.changed, text = False, json.dumps(self.known)
        files.write_atomically(path, text.encode())

    def before(self, key: str, sub_epoch: int, classes: int) -> tuple[int, list[int]]:
        """Returns the last known sub-epoch up to a given one, and the draws of each class before it."""
        known = self.known.get(key, {})
        last = max((e for e, counts in known.items() if e <= sub_epoch and len(counts) == classes), default=0)
        return last, known.get(last, [0] * classes)

    def note(self, key: str, sub_epoch: int, counts: list[int]) -> None:
        """Keeps the draws of each class before a sub-epoch."""
        with self._lock:
            self.known.setdefault(key, {})[sub_epoch] = counts
            self.changed = True
