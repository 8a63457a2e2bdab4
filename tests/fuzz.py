"""Fuzzing guided by coverage: python -m tests.fuzz --target=record --seconds=60 (extra `fuzz`)."""

import pathlib
import sys
import tempfile

import atheris
from absl import app, flags

with atheris.instrument_imports(include=["fada_tf", "PIL", "json"]):
    from tests import hostile

_TARGET = flags.DEFINE_enum("target", None, sorted(hostile.TARGETS), "What is fuzzed.", required=True)
_SECONDS = flags.DEFINE_integer("seconds", 60, "How long.", lower_bound=1)


def main(argv):
    """Runs libFuzzer on one target; a finding ends it with the input in a file crash-*."""
    del argv
    target = hostile.TARGETS[_TARGET.value]
    corpus = pathlib.Path(tempfile.mkdtemp())
    for number, seed in enumerate(hostile.seeds(_TARGET.value)):
        (corpus / str(number)).write_bytes(seed)
    target(hostile.seeds(_TARGET.value)[0])  # builds what is built once
    limits = [f"-max_total_time={_SECONDS.value}", "-rss_limit_mb=4096", "-timeout=20", "-max_len=1000000"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    app.run(main)
