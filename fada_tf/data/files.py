"""Files by path: local ones through the standard library, `gs://bucket/...` and its like through tf.io.gfile."""

import contextlib
import hashlib
import importlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

from fada_tf.errors import InputError, printable

CHUNK_BYTES = 1 << 22


def is_remote(path: str) -> bool:
    """Tells whether only tf.io.gfile can open `path`: it has a scheme such as `gs://`."""
    return "://" in path


def _gfile(path: str):
    import tensorflow as tf  # local files must not wait for TensorFlow

    scheme = path.partition("://")[0]
    if scheme == "gs" and scheme not in tf.io.gfile.get_registered_schemes():
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorflow_io_gcs_filesystem")  # adds the scheme
    known = sorted(filter(None, tf.io.gfile.get_registered_schemes()))
    if scheme not in known:
        way = "pip install -e '.[gcs]' adds it on Python 3.10 to 3.12" if scheme == "gs" else "copy the files to a disk"
        raise InputError(f"{path}: this TensorFlow reads no {scheme}:// (but {', '.join(known)}): {way}")
    return tf.io.gfile


def join(folder: str, *names: str) -> str:
    """Returns the path of a file in a folder."""
    return os.path.join(folder, *names)


def open_binary(path: str, mode: str = "rb") -> BinaryIO:
    """Opens a file for reading ('rb') or writing ('wb') bytes."""
    return _gfile(path).GFile(path, mode) if is_remote(path) else open(path, mode)


def read_bytes(path: str) -> bytes:
    """Returns a whole file.

    Raises:
      OSError: it cannot be read.
    """
    if is_remote(path) and not exists(path):
        raise FileNotFoundError(f"no such file: {path}")
    with open_binary(path) as file:
        return file.read()


def read_json(path: str) -> Any:
    """Returns the values of a JSON file.

    Raises:
      OSError: it cannot be read.
      ValueError: it is not JSON; the message names the line in which its writer has to look.
    """
    try:
        return json.loads(read_bytes(path))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(_json_problem(error)) from error


def _json_problem(error: json.JSONDecodeError) -> str:
    """Returns what is wrong in which line; a parser notices a wrong comma only at what comes after it."""
    if not error.doc.strip():
        return "the file is empty"
    after_comma = error.msg.startswith("Illegal trailing comma")  # Python 3.13 names the comma itself
    read = error.doc[: error.pos + after_comma].rstrip()
    line, rest = read.count("\n") + 1, f"'{printable(read.splitlines()[-1].strip())[-60:]}'" if read else ""
    if read.endswith(","):
        return f"line {line}: the comma at the end of {rest} is one too many"
    if error.msg.startswith("Expecting ',' delimiter"):
        return f"line {line}: a comma or a closing bracket is missing after {rest}"
    return f"line {error.lineno}, column {error.colno}: {error.msg}"


def json_text(values: Any, indent: int | None = None) -> str:
    """Returns values as JSON and a newline; NaN and infinities, for which JSON has no words, become null."""
    text = json.dumps(_finite(values), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace").decode()  # bytes of file names that are not UTF-8 become \udcXX


def _finite(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def read_json_lines(path: str) -> list[dict]:
    """Returns the JSON objects of a file, one a line, without those that were cut short when a process was killed.

    Raises:
      OSError: it cannot be read.
    """
    values = []
    for line in read_bytes(path).splitlines():
        with contextlib.suppress(ValueError):
            values.append(json.loads(line, parse_constant=lambda _: None))  # NaN, which is no JSON
    return [value for value in values if isinstance(value, dict)]


def join_inside(folder: str, name: str) -> str:
    """Returns the path of a file in a folder or below it, for names from elsewhere, with `/` in them.

    Raises:
      InputError: the name leads out of the folder.
    """
    if os.path.isabs(name) or "\0" in name or ".." in name.replace(os.sep, "/").split("/"):
        raise InputError(f"the name {name!r} leads out of {folder}: give it another name")
    return os.path.join(folder, name)


def write_atomically(path: str, data: bytes) -> None:
    """Writes a whole file under a temporary name and renames it: readers see all of it or nothing."""
    with open_binary(partial_name(path), "wb") as file:
        file.write(data)
    rename(partial_name(path), path)


def partial_name(path: str) -> str:
    """Returns the temporary name of a file that is being written."""
    return path + ".partial"


def rename(old: str, new: str) -> None:
    """Moves a file, over another one if need be."""
    if is_remote(new):
        _gfile(new).rename(old, new, overwrite=True)
    else:
        os.replace(old, new)


def exists(path: str) -> bool:
    """Tells whether a file or folder exists."""
    return _gfile(path).exists(path) if is_remote(path) else os.path.exists(path)


def is_folder(path: str) -> bool:
    """Tells whether a folder of that path exists."""
    return _gfile(path).isdir(path) if is_remote(path) else os.path.isdir(path)


def size(path: str) -> int:
    """Returns a file's length in bytes."""
    return _gfile(path).stat(path).length if is_remote(path) else os.stat(path).st_size


def make_folder(path: str) -> None:
    """Creates a folder, and those above it, where they are missing."""
    if is_remote(path):
        _gfile(path).makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def remove(path: str) -> None:
    """Deletes a file if it is there."""
    if is_remote(path):
        if exists(path):
            _gfile(path).remove(path)
    elif os.path.lexists(path):
        os.remove(path)


def list_folder(folder: str) -> list[str]:
    """Returns the names in a folder, sorted, without hidden ones."""
    names = _gfile(folder).listdir(folder) if is_remote(folder) else os.listdir(folder)
    return sorted(name for name in names if not is_hidden(name))


def is_hidden(name: str) -> bool:
    """Tells whether a file or folder is none of the user's data: its name begins with a dot."""
    return name.startswith(".")


def walk(folder: str) -> list[str]:
    """Returns the paths of all files in a folder and in those below it, relative to it, sorted, with `/` in them.

    Hidden files and folders below it are left out. Links to folders are followed, except to one that holds the link.

    Raises:
      InputError: a folder cannot be listed.
    """
    tree = _gfile(folder).walk(folder) if is_remote(folder) else _walk_local(folder)
    paths = (os.path.join(top, name)[len(folder) :].replace(os.sep, "/") for top, _, names in tree for name in names)
    relative = (path.lstrip("/") for path in paths)
    return sorted(path for path in relative if not any(map(is_hidden, path.split("/"))))


def _walk_local(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Does what `os.walk` does, without going in circles."""

    def fail(error: OSError) -> None:
        raise InputError(f"folder {error.filename} cannot be listed ({error.strerror}): check path and permissions")

    above = {folder: (os.path.realpath(folder),)}  # the folders that the way to each one led through
    for top, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        entered = []
        for name in folders:
            path = os.path.join(top, name)
            real = os.path.realpath(path)
            if not is_hidden(name) and all(os.path.commonpath([holder, real]) != real for holder in above[top]):
                entered.append(name)
                above[path] = (*above[top], real)
        folders[:] = entered
        yield top, folders, names


def copy_folder(old: str, new: str, without: Collection[str] = ()) -> None:
    """Copies the files of a folder and of those below it; of its own entries some may be left out."""
    for name in walk(old):
        if name.partition("/")[0] not in without:
            make_folder(os.path.dirname(join(new, name)))
            with open_binary(join(old, name)) as reader, open_binary(join(new, name), "wb") as writer:
                shutil.copyfileobj(reader, writer, CHUNK_BYTES)


def sha256(path: str) -> str:
    """Returns the hexadecimal SHA-256 of a file's contents."""
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
