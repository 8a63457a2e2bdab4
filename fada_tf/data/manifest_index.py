"""`manifest.npz`: what a long manifest.json says once more, in arrays, which are read in a moment.

It holds the SHA-256 of its manifest.json, and counts only beside that very file: who copies or changes the one without
the other reads manifest.json, as ever.
"""

import io
import json
import zipfile
from typing import Any

import numpy as np

from fada_tf.data import files
from fada_tf.data.entries import Entries

INDEX_NAME = "manifest.npz"


def write(folder: str, manifest_path: str, head: Any, entries: Entries) -> None:
    """Writes the index of a manifest, whole or not at all.

    Args:
      folder: of both.
      manifest_path: the manifest.json, which is written.
      head: JSON values; what it holds beside the entries.
      entries: all.
    """
    buffer = io.BytesIO()
    texts = {"head": head, "filenames": entries.filenames}
    columns = {name: np.frombuffer(json.dumps(values).encode(), np.uint8) for name, values in texts.items()}
    of = np.array(files.sha256(manifest_path))
    np.savez(buffer, of=of, numbers=entries.numbers, pixels=entries.pixels, **columns)
    files.write_atomically(files.join(folder, INDEX_NAME), buffer.getvalue())


def read_head(folder: str, manifest_path: str) -> Any:
    """Returns the head of the index of this very manifest; None where there is none that can be read."""
    return _read(folder, manifest_path, lambda index: _values(index["head"]))


def read(folder: str, manifest_path: str) -> tuple[Any, Entries] | None:
    """Returns the head and all entries; None where there is no index of this very manifest that can be read."""
    return _read(
        folder,
        manifest_path,
        lambda index: (
            _values(index["head"]),
            Entries(_values(index["filenames"]), index["numbers"], index["pixels"]),
        ),
    )


def _read(folder: str, manifest_path: str, take: Any) -> Any:
    path = files.join(folder, INDEX_NAME)
    if not files.exists(path):
        return None
    try:
        with files.open_binary(path) as file, np.load(file) as index:
            return take(index) if str(index["of"]) == files.sha256(manifest_path) else None
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
        return None


def _values(text: np.ndarray) -> Any:
    return json.loads(text.tobytes())
