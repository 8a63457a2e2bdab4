"""Writes one HTML page that compares the stages of an experiment: table, curves, pictures.

python scripts/report.py --run="source only=runs/x/source" --run="FADA=runs/x/adversarial" \
    --records=data/records/camvid_test --output=report.html

Every run must have been scored on the records by scripts/evaluate.py. Pictures show the first and the last run.
"""

import os

from absl import flags

from fada_tf import cli
from fada_tf.errors import InputError

_RUN = flags.DEFINE_multi_string("run", None, "TITLE=DIRECTORY of a run; once for every run, in order.")
_RECORDS = flags.DEFINE_string("records", None, "Folder of the labelled shards that the runs were scored on.")
_OUTPUT = flags.DEFINE_string("output", None, "The page, an .html file.")
_TITLE = flags.DEFINE_string("title", "FADA", "Heading of the page.")
_PICTURES = flags.DEFINE_integer("pictures", 6, "Rows of pictures.", lower_bound=0)


def main(argv):
    """Reads the runs and writes the page."""
    del argv
    for run in _RUN.value:
        if "=" not in run:
            raise InputError(f"--run={run} has no title: write --run=TITLE=DIRECTORY")

    from fada_tf.data import files
    from fada_tf.reporting import page, runs

    records_name = os.path.basename(os.path.normpath(_RECORDS.value))
    found = [runs.read_run(*run.split("=", 1), records_name) for run in _RUN.value]
    text = page.write_page(_TITLE.value, found, _RECORDS.value, _PICTURES.value)
    files.make_folder(os.path.dirname(_OUTPUT.value) or ".")
    files.write_atomically(_OUTPUT.value, text.encode())
    print(f"written: {_OUTPUT.value}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["run", "records", "output"])
    cli.run(main)
