"""Metrics under TensorFlow Serving's names, for Prometheus."""

import threading

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector

_PREFIX = ":tensorflow:serving:"
_BUCKETS = [10.0 * 1.8**power for power in range(33)]  # microseconds, to half an hour


class Metrics:
    """Counts and times requests."""

    def __init__(self):
        disable_created_metrics()
        self._registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = {}
        self._latency = Histogram(
            f"{_PREFIX}request_latency", "Microseconds a request took.", ["model_name", "API", "entrypoint"],
            buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def record(self, model: str, entrypoint: str, status: str, seconds: float) -> None:
        """Notes a finished request.

        Args:
          model: its name; must exist, or be one fixed word, since every name costs memory.
          entrypoint: "REST" or "GRPC".
          status: name of the status code, "OK" and so on.
          seconds: it took.
        """
        with self._lock:
            self._counts[model, status] = self._counts.get((model, status), 0) + 1
        self._latency.labels(model, "predict", entrypoint).observe(seconds * 1e6)

    def collect(self):
        """Yields the request counts; the library's own counter would change the name."""
        metric = Metric(f"{_PREFIX}request_count", "Requests by status.", "unknown")
        for (model, status), count in list(self._counts.items()):
            metric.add_sample(f"{_PREFIX}request_count", {"model_name": model, "status": status}, count)
        yield metric

    def text(self) -> bytes:
        """Returns all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
