"""Writes one HTML page that compares runs: scores, settings, curves, confusion, features, best and worst pictures.

fada-tf report runs/x/source runs/x/adversarial --output=report.html
fada-tf report "source only=runs/x/source" "FADA=runs/x/adversarial" \
    --records=data/records/camvid_test --output=report.html

The named checkpoint of every run (of a run directory the newest, of RUN/best the best) must have been scored on the
records by fada-tf evaluate; what fada-tf analyze_features found of all alike is shown too. Pictures show the
first and the last run. In a browser tables sort, pictures can be chosen by class and condition and compared, and the
address says what is shown: it is the link to share. Beside the page, a Markdown file has the table as papers print it.
"""

import os

from absl import flags

from fada_tf import cli
from fada_tf.errors import InputError

_RUN = flags.DEFINE_multi_string("run", [], "TITLE=RUN, before those that are given without an option.")
_RECORDS = flags.DEFINE_string("records", "", "Folder of the labelled shards; empty: the first run's evaluation set.")
_OUTPUT = flags.DEFINE_string("output", "report.html", "The page, an .html file.")
_HEIGHT = flags.DEFINE_integer(
    "height", 0, "Pixels that the scores were made at; 0: each run's evaluation height.", lower_bound=0
)
_WIDTH = flags.DEFINE_integer(
    "width", 0, "Pixels that the scores were made at; 0: each run's evaluation width.", lower_bound=0
)
_TITLE = flags.DEFINE_string("title", "FADA", "Heading of the page.")
_PICTURES = flags.DEFINE_integer(
    "pictures",
    3,
    "Of the best, and as many of the worst; of every class and condition there is one of both.",
    lower_bound=0,
)
cli.define_convolutions()


def main(argv):
    """Reads the runs and writes the page."""
    beside = os.path.splitext(_OUTPUT.value)[0] + ".md"
    if not _OUTPUT.value or beside == _OUTPUT.value:
        raise InputError(
            f"--output={_OUTPUT.value} is no place for a page: name an .html file; beside it comes an .md file"
        )
    named = [_title_and_run(text) for text in (*_RUN.value, *argv[1:])]
    if not named:
        raise InputError("no run is given: name run directories, such as runs/x/source 'FADA=runs/x/adversarial'")

    from fada_tf import progress
    from fada_tf.data import files
    from fada_tf.devices import set_up_devices
    from fada_tf.reporting import examples, page, runs, tables
    from fada_tf.runs import checkpoint

    set_up_devices()
    records = checkpoint.evaluation_records(named[0][1], _RECORDS.value)
    found = [runs.read_run(title, path, records, _HEIGHT.value, _WIDTH.value) for title, path in named]
    found = runs.with_distances(found, records)
    total = examples.number_of_images(records) if _PICTURES.value else 0
    with progress.bar(total, "report", "image") as bar:
        text = page.write_page(_TITLE.value, found, records, _PICTURES.value, bar.update)
    markdown = tables.paper_table(found, runs.common_label_space(found))
    files.make_folder(os.path.dirname(_OUTPUT.value) or ".")
    files.write_atomically(beside, markdown.encode())
    files.write_atomically(_OUTPUT.value, text.encode())
    print(f"written: {_OUTPUT.value}, {beside}")


def _title_and_run(text):
    """Divides TITLE=RUN where there is such a run: both may have an equals sign in them."""
    from fada_tf.data import files

    parts = text.split("=")
    for count in range(len(parts)):
        path = "=".join(parts[count:])
        if "=" in path.partition("://")[0] and files.is_remote(path):
            continue  # a title before a remote path
        if files.exists(path) or files.exists(f"{path}.index"):
            return "=".join(parts[:count]) or os.path.basename(os.path.normpath(path)), path
    raise InputError(f"{text!r} names no run: give a run directory, or TITLE=RUN")


if __name__ == "__main__":
    cli.run(main, arguments=True)
