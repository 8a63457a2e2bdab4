"""Files that come with the library and can be named without their path: experiments, studies, classes, weights."""

import os

EXPERIMENTS, STUDIES, CLASSES, WEIGHTS = "", "studies", "classes", "weights"  # folders in configs/
_SUFFIXES = {EXPERIMENTS: ".py", STUDIES: ".py", CLASSES: ".json", WEIGHTS: ".npz"}
_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_NAME = "configs"


def folder() -> str:
    """Returns the library's own configs/: inside of the package where it is installed, beside it in a checkout."""
    inside, beside = os.path.join(_PACKAGE, _NAME), os.path.join(os.path.dirname(_PACKAGE), _NAME)
    return inside if os.path.isdir(inside) else beside


def find(name: str, kind: str) -> str:
    """Returns the path of a file that is named.

    A file at this path comes first, then one in configs/ of the working folder, then one of the library's: "gta5_r101",
    "gta5_r101.py" and "configs/gta5_r101.py" are the same there.

    Args:
      name: a path, or a name without folder and suffix.
      kind: EXPERIMENTS, STUDIES, CLASSES or WEIGHTS.

    Returns:
      The path; `name` as it is if there is no such file.
    """
    if os.path.isfile(name):
        return name
    file = name.removesuffix(_SUFFIXES[kind]).removeprefix(f"{_NAME}/") + _SUFFIXES[kind]
    paths = [os.path.join(root, part, file) for root in (_NAME, folder()) for part in (kind, "")]
    return next(filter(os.path.isfile, paths), name)


def names(kind: str) -> list[str]:
    """Returns the names of the library's files of a kind, sorted."""
    found = os.listdir(os.path.join(folder(), kind))
    return sorted(name.removesuffix(_SUFFIXES[kind]) for name in found if name.endswith(_SUFFIXES[kind]))
