"""A run directory from its first file to its checkpoints: whose it is, what is in it."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Collection, Iterator

from fada_tf import config as config_lib
from fada_tf import config_fields
from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.runs import layout, provenance


def check_run_directory(
    directory: str, config: config_lib.Config, free: Collection[str] = config_fields.FREE_FIELDS
) -> list[str]:
    """Checks that the directory is new or belongs to this very run.

    Args:
      directory: the run directory.
      config: of the run.
      free: fields that may differ.

    Returns:
      A line for each input of the run that lies elsewhere now.

    Raises:
      InputError: the directory is another run's; the message names the first fields that differ.
    """
    path = os.path.join(directory, layout.CONFIG)
    if not files.exists(path):
        return []
    earlier = config_fields.from_json(files.read_bytes(path), path)
    config_fields.drop_untrained(earlier)
    lines = config_fields.differences(earlier, config, but=free)
    different = {line.partition(":")[0]: line for line in lines}
    moved = [different.pop(field) for field in provenance.moved_inputs(directory, list(different), config)]
    if different:
        lines = list(different.values())
        raise InputError(
            f"{directory} holds another run ({'; '.join(lines[:3])}{' ...' if len(lines) > 3 else ''}): "
            "choose another run directory, or the same config to continue it"
        )
    return [f"config.{line}: the same content, by its SHA-256, in another place" for line in moved]


@contextlib.contextmanager
def owned(directory: str) -> Iterator[None]:
    """Makes the directory if need be and holds it for this process; it is free again however the process ends.

    Raises:
      InputError: another process holds it, or it cannot be written.
    """
    if files.is_remote(directory):  # no file system that could lock
        yield
        return
    try:
        files.make_folder(directory)
        lock = open(os.path.join(directory, layout.LOCK), "a+")  # noqa: SIM115 (a with would catch the caller's errors)
    except OSError as error:
        raise InputError(f"{directory} cannot be written ({error.strerror}): choose another --run_dir") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip()
            raise InputError(
                f"{directory} is being trained by process {owner}: end that one, or choose another --run_dir"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        yield


def write_run_directory(directory: str, config: config_lib.Config, label_space: LabelSpace) -> None:
    """Makes the directory with its config.json and label_space.json."""
    files.make_folder(directory)
    classes = files.json_text(label_space.to_json(), indent=2)
    files.write_atomically(os.path.join(directory, layout.LABEL_SPACE), classes.encode())
    files.write_atomically(os.path.join(directory, layout.CONFIG), config_fields.to_json(config).encode())
