"""Where in a run directory lies what was measured of the run, by the name of the records that it was measured on."""

import os


def scores_folder(run: str, records: str, *, multi_scale: bool = False) -> str:
    """Returns the folder of scores.json and scores.csv."""
    return os.path.join(run, "scores", _name(records) + ("_multi_scale" if multi_scale else ""))


def features_folder(run: str, target_records: str) -> str:
    """Returns the folder of ccd.json and ccd.csv."""
    return os.path.join(run, "features", _name(target_records))


def _name(records: str) -> str:
    return os.path.basename(os.path.normpath(records))
