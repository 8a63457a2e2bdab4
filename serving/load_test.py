"""Measures a model server: latency, throughput, errors and memory under load.

python -m serving.load_test --images=photos --concurrency=16 --seconds=60                 # closed loop
python -m serving.load_test --images=photos --rate=5 --seconds=600                        # open loop
python -m serving.load_test --images=photos --concurrency=16 --direct=models/segmenter/1  # against no server at all

In a closed loop each of --concurrency clients asks again when it is answered; in an open loop requests come at random
times, --rate a second, whether the server keeps up or not, and latency counts from when a request was due. --direct
calls the SavedModel in this process, with batches of --batch, in turns with the server, and prints the ratio of the
throughputs; it needs TensorFlow, all else does not.
"""

import argparse
import collections
import io
import json
import random
import re
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from . import client

_MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)
_POOL = 512  # requests of an open loop that are under way; a server that lets more wait has lost


@dataclass
class Results:
    """What happened in a load test.

    Attributes:
      seconds: it took.
      latencies: seconds of the requests that were answered.
      errors: how often each status came instead.
      memory: (seconds since the start, bytes) of the server's process.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: collections.Counter = field(default_factory=collections.Counter)
    memory: list[tuple[float, int]] = field(default_factory=list)

    def summary(self) -> dict:
        """Returns the figures: milliseconds, requests a second, megabytes, megabytes a minute."""
        values = {"answered": len(self.latencies), "errors": dict(self.errors)}
        values["per_second"] = round(len(self.latencies) / self.seconds, 3)
        ordered = sorted(self.latencies)
        for percent in (50, 95, 99):
            if ordered:
                values[f"p{percent}_ms"] = round(1e3 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)
        settled = [sample for sample in self.memory if sample[0] > 0.2 * self.seconds]
        if len(settled) > 2:
            slope = statistics.linear_regression(*zip(*settled, strict=True)).slope
            values |= {"memory_mb": [round(settled[0][1] / 1e6), round(settled[-1][1] / 1e6)]}
            values["memory_growth_mb_per_minute"] = round(slope * 60 / 1e6, 2)
        return values


class LoadTest:
    """Sends pictures and notes what becomes of them."""

    def __init__(self, ask: Callable[[bytes], bytes], files: list[bytes], metrics_url: str, show: bool):
        """Sets up a test.

        Args:
          ask: sends a file; raises `client.ServingError`.
          files: the pictures, sent in random order.
          metrics_url: of the server's metrics; empty: memory is not watched.
          show: print a line every ten seconds.
        """
        self._ask, self._files, self._metrics_url, self._show = ask, files, metrics_url, show
        self._lock = threading.Lock()

    def closed(self, concurrency: int, seconds: float) -> Results:
        """Runs a closed loop."""
        results, end = Results(), time.monotonic() + seconds

        def work(seed: int) -> None:
            chooser = random.Random(seed)
            while time.monotonic() < end:
                self._once(results, chooser.choice(self._files), time.monotonic())

        with self._watched(results), ThreadPoolExecutor(concurrency) as pool:
            list(pool.map(work, range(concurrency)))
        return results

    def open(self, rate: float, seconds: float) -> Results:
        """Runs an open loop."""
        results, chooser = Results(), random.Random(0)
        with self._watched(results), ThreadPoolExecutor(_POOL) as pool:
            due = time.monotonic()
            end = due + seconds
            while due < end:
                time.sleep(max(0.0, due - time.monotonic()))
                pool.submit(self._once, results, chooser.choice(self._files), due)
                due += chooser.expovariate(rate)
        return results

    def recovery(self) -> float:
        """Returns the seconds until ten requests in a row are answered."""
        started, answered = time.monotonic(), 0
        while answered < 10:
            results = Results()
            self._once(results, self._files[0], time.monotonic())
            answered = 0 if results.errors else answered + 1
        return time.monotonic() - started

    def _once(self, results: Results, file: bytes, due: float) -> None:
        try:
            self._ask(file)
        except client.ServingError as error:
            with self._lock:
                results.errors[error.status or "no answer"] += 1
        else:
            with self._lock:
                results.latencies.append(time.monotonic() - due)

    def _watched(self, results: Results) -> "_Watch":
        return _Watch(results, self._metrics_url, self._show)


class _Watch:
    """Times a load test, reads the server's memory every second and prints how it goes."""

    def __init__(self, results: Results, url: str, show: bool):
        self._results, self._url, self._show = results, url, show
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._started = time.monotonic()
        self._thread.start()

    def __exit__(self, *exception):
        self._results.seconds = time.monotonic() - self._started
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        results, shown = self._results, 0
        for turn in range(1, sys.maxsize):
            if self._stop.wait(1):
                return
            elapsed = time.monotonic() - self._started
            self._read_memory(elapsed)
            if self._show and turn % 10 == 0:
                latest, errors = results.latencies[shown:], sum(results.errors.values())
                shown += len(latest)
                memory = f", {results.memory[-1][1] / 1e6:.0f} MB" if results.memory else ""
                middle = f"{1e3 * statistics.median(latest):.0f} ms" if latest else "none"
                sys.stderr.write(
                    f"{elapsed:5.0f} s: {len(latest) / 10:.1f} a second, median {middle}, {errors} errors{memory}\n"
                )

    def _read_memory(self, elapsed: float) -> None:
        if not self._url:
            return
        try:
            with urllib.request.urlopen(self._url, timeout=5) as answer:
                match = _MEMORY.search(answer.read().decode())
        except OSError:
            return  # too busy to say: the next second will tell
        if match:
            self._results.memory.append((elapsed, int(float(match[1]))))


def direct(path: str, files: list[bytes], batch: int, threads: int) -> Callable[[float], float]:
    """Returns a function that calls a SavedModel in this process for some seconds and returns pictures a second."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise client.ServingError("--direct needs the package tensorflow: pip install -e .") from error
    loaded = tf.saved_model.load(path)

    def call(files: list[bytes]) -> None:
        loaded.signatures[client.SIGNATURE](**{client.INPUT: tf.constant(files)})[client.OUTPUT].numpy()

    call(files[:1] * batch)

    def measure(seconds: float) -> float:
        started = time.monotonic()

        def work(seed: int) -> int:
            chooser, done = random.Random(seed), 0
            while time.monotonic() < started + seconds:
                call(chooser.choices(files, k=batch))
                done += batch
            return done

        with ThreadPoolExecutor(threads) as pool:
            done = sum(pool.map(work, range(threads)))
        return done / (time.monotonic() - started)

    return measure


def pictures(path: str, count: int, sizes: list[tuple[int, int]]) -> list[bytes]:
    """Returns files of up to `count` pictures: as they are, or at (height, width) of `sizes` in turn, as JPEGs."""
    folder, names = client.find_pictures(path)
    files = []
    for index, name in enumerate(names[:: -(-len(names) // count)]):
        picture = client.read_upright(f"{folder}/{name}" if folder else name)
        if sizes:
            buffer = io.BytesIO()
            picture.convert("RGB").resize(sizes[index % len(sizes)][::-1]).save(buffer, "JPEG", quality=90)
            files.append(buffer.getvalue())
        else:
            files.append(client.encoded(picture))
    return files


def _size(text: str) -> tuple[int, int]:
    height, width = map(client.at_least(1), text.split("x"))
    return height, width


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="serving.load_test", description="Measures a model server under load.")
    parser.add_argument("--images", required=True, help="a picture, or a folder of pictures")
    parser.add_argument(
        "--max_images", type=client.at_least(1), default=16, help="pictures that are sent (%(default)s)"
    )
    parser.add_argument("--sizes", type=_size, nargs="*", default=[], help="HEIGHTxWIDTH of the pictures, mixed")
    parser.add_argument("--server", default="grpc://127.0.0.1:8500", help="http:// or grpc:// (%(default)s)")
    parser.add_argument("--model", default=client.DEFAULT_MODEL, help="name of the model (%(default)s)")
    parser.add_argument("--metrics", default="", help="URL of the server's metrics, for its memory")
    parser.add_argument(
        "--concurrency", type=client.at_least(1), default=16, help="clients of the closed loop (%(default)s)"
    )
    parser.add_argument(
        "--rate", type=client.at_least(0, float), default=0.0, help="requests a second; above 0: an open loop"
    )
    parser.add_argument("--seconds", type=client.at_least(0.001, float), default=30.0, help="of a test (%(default)s)")
    parser.add_argument(
        "--timeout", type=client.at_least(0.001, float), default=60.0, help="seconds for a request (%(default)s)"
    )
    parser.add_argument("--direct", default="", help="a version's folder to compare with")
    parser.add_argument("--batch", type=client.at_least(1), default=4, help="of --direct (%(default)s)")
    parser.add_argument(
        "--threads", type=client.at_least(1), default=2, help="of --direct, as num_batch_threads (%(default)s)"
    )
    parser.add_argument("--rounds", type=client.at_least(1), default=5, help="of --direct (%(default)s)")
    parser.add_argument("--output", default="", help="file for the figures, as JSON")
    options = parser.parse_args(arguments)
    try:
        files = pictures(options.images, options.max_images, options.sizes)
        ask = client.Client(
            options.server, options.model, timeout=options.timeout, retries=0,
            concurrency=_POOL if options.rate else options.concurrency,
        ).segment_bytes  # fmt: skip
        ask(files[0])
        measure = direct(options.direct, files, options.batch, options.threads) if options.direct else None
    except client.ServingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    test = LoadTest(ask, files, options.metrics, show=True)
    if measure:
        rounds = []
        test.closed(options.concurrency, options.seconds / 2)
        for number in range(options.rounds):
            served, called = test.closed(options.concurrency, options.seconds).summary(), measure(options.seconds)
            rounds.append({"server": served, "direct_per_second": called, "ratio": served["per_second"] / called})
            sys.stderr.write(f"round {number + 1}: {json.dumps(rounds[-1])}\n")
        figures = {"rounds": rounds, "ratio": statistics.median(each_round["ratio"] for each_round in rounds)}
    else:
        results = (
            test.open(options.rate, options.seconds)
            if options.rate
            else test.closed(options.concurrency, options.seconds)
        )
        figures = results.summary()
        if results.errors:
            figures["recovery_seconds"] = round(test.recovery(), 2)
    text = json.dumps(figures, indent=1)
    print(text)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
