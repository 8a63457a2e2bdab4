"""Folders whose names TensorFlow would take for patterns.

Where it looks for a checkpoint, even inside its operation RestoreV2, TensorFlow matches `[ ] * ?` and backslashes
instead of taking them as they are: what it saved in such a folder it does not find again.
"""

import functools
import os
import re
import tempfile

from fada_tf.data import files
from fada_tf.errors import InputError

_PATTERN = re.compile(r"[][*?\\]")


def is_literal(path: str) -> bool:
    """Tells whether TensorFlow takes every character of a path for itself."""
    return not _PATTERN.search(path)


@functools.cache
def literal(folder: str) -> str:
    """Returns a path of a folder that TensorFlow takes literally: the path itself, or a link to it for this process.

    Raises:
      InputError: there are no links in a remote folder.
    """
    if is_literal(folder):
        return folder
    if files.is_remote(folder):
        raise InputError(f"{folder} has one of [ ] * ? in it, which TensorFlow takes for a pattern: rename it")
    link = os.path.join(_links().name, str(len(os.listdir(_links().name))))
    os.symlink(os.path.abspath(folder), link)
    return link


def literal_file(path: str) -> str:
    """Returns the path of a file, or of the files of a checkpoint, in `literal` of its folder."""
    folder, name = os.path.split(path)
    return os.path.join(literal(folder), name)


@functools.cache
def _links() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="fada_tf_")
