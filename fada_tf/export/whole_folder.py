"""A folder that others read: it appears whole, or nothing of it does."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

import tensorflow as tf

from fada_tf.data import files
from fada_tf.errors import InputError


@contextlib.contextmanager
def whole_folder(final: str, last: str, option: str) -> Iterator[str]:
    """Gives a local folder to fill, and puts it there at the end, or removes it on any error.

    Args:
      final: its path, where nothing or an empty folder is; may be remote.
      last: the file in it, relative to it, without which nobody takes the folder for whole: where nothing can be
        renamed, it is written after all others.
      option: that chooses the place, for the error.

    Raises:
      InputError: it cannot be written.
    """
    remote = files.is_remote(final)
    partial = tempfile.mkdtemp() if remote else files.partial_name(final)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        yield partial
        if remote:
            _upload(partial, final, last)
        else:
            os.rename(partial, final)
    except (OSError, tf.errors.OpError) as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{final} cannot be written ({reason}): choose another {option}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _upload(folder: str, final: str, last: str) -> None:
    names = sorted(files.walk(folder), key=lambda name: name == last)
    try:
        for name in names:
            files.make_folder(os.path.dirname(files.join(final, name)))
            tf.io.gfile.copy(files.join(folder, name), files.join(final, name))
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):  # which would hide why
            for name in names:
                files.remove(files.join(final, name))
            tf.io.gfile.rmtree(final)
        raise
