"""What both interfaces share: one request, from its model to its outputs, counted and timed."""

import time
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf
from absl import logging

from .manager import Manager
from .metrics import Metrics

_Result = TypeVar("_Result")
# By status code: its name on the wire, the HTTP status.
STATUSES = {
    0: ("OK", 200),
    1: ("CANCELLED", 499),
    2: ("UNKNOWN", 500),
    3: ("INVALID_ARGUMENT", 400),
    4: ("DEADLINE_EXCEEDED", 504),
    5: ("NOT_FOUND", 404),
    6: ("ALREADY_EXISTS", 409),
    7: ("PERMISSION_DENIED", 403),
    8: ("RESOURCE_EXHAUSTED", 429),
    9: ("FAILED_PRECONDITION", 400),
    10: ("ABORTED", 409),
    11: ("OUT_OF_RANGE", 400),
    12: ("UNIMPLEMENTED", 501),
    13: ("INTERNAL", 500),
    14: ("UNAVAILABLE", 503),
    15: ("DATA_LOSS", 500),
    16: ("UNAUTHENTICATED", 401),
}


class Service:
    """The models and how requests on them are counted."""

    def __init__(self, manager: Manager, metrics: Metrics):
        self.manager = manager
        self.metrics = metrics

    def answer(self, model: str, entrypoint: str, work: Callable[[], _Result]) -> _Result:
        """Does a request's work; whatever goes wrong becomes an `OpError` of this request alone.

        Args:
          model: its name, for the metrics.
          entrypoint: "REST" or "GRPC".
          work: returns the answer.

        Raises:
          tf.errors.OpError: with the code and the message for the client.
        """
        started, code = time.monotonic(), 0
        try:
            return work()
        except tf.errors.OpError as error:
            code = error.error_code
            raise
        except Exception as error:
            logging.exception("request failed")
            code = tf.errors.INTERNAL
            raise tf.errors.InternalError(None, None, f"{type(error).__name__}: {error}") from error
        finally:
            self.record(model, entrypoint, code, time.monotonic() - started)

    def record(self, model: str, entrypoint: str, code: int, seconds: float) -> None:
        """Counts a request; unknown models count together, since every name costs memory."""
        known = model if self.manager.knows(model) else "unknown"
        self.metrics.record(known, entrypoint, STATUSES[code][0], seconds)
