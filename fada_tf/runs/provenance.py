"""Where a run comes from: command, versions, git state, checksums of its inputs."""

import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable

import tensorflow as tf

from fada_tf import machine, shipped
from fada_tf.config import Config
from fada_tf.config_fields import INPUT_FIELDS, flatten
from fada_tf.data import files, labels, manifest
from fada_tf.errors import InputError
from fada_tf.runs import checkpoint, layout

_INITIAL_WEIGHTS = "model.initial_weights"
_SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def record(directory: str, config: Config) -> None:
    """Adds this start of a run to provenance.json, if it differs from the one before.

    Raises:
      InputError: the data are not those that the run was begun with.
    """
    path = os.path.join(directory, layout.PROVENANCE)
    starts = read(directory) if files.exists(path) else []
    if starts:  # its checkpoints hold what became of the initial weights, which need not be found any more
        first = starts[0]["inputs"]
        inputs = {name: first[name] for name in first if name == f"config.{_INITIAL_WEIGHTS}"}
        inputs = input_checksums(config, without=_INITIAL_WEIGHTS) | inputs
        check_inputs(first, inputs, directory)
    else:
        inputs = input_checksums(config)
    start = {"command": sys.argv, "folder": os.getcwd(), "inputs": inputs, "environment": environment()}
    if starts[-1:] != [start]:
        files.write_atomically(path, files.json_text([*starts, start], indent=1).encode())


def read(directory: str) -> list[dict]:
    """Returns the starts of a run, the first one first.

    Raises:
      InputError: there is no provenance.json, or none of this program.
    """
    path = os.path.join(directory, layout.PROVENANCE)
    try:
        starts = json.loads(files.read_bytes(path))
        if all(isinstance(start["inputs"], dict) and isinstance(start["environment"], dict) for start in starts):
            return starts
        reason = "lacks inputs or environment"
    except OSError as error:
        reason = error.strerror
    except (ValueError, TypeError, KeyError) as error:
        reason = repr(error)
    raise InputError(f"{path} cannot be read ({reason}): name a run directory of fada-tf train")


def input_checksums(config: Config, without: str = "") -> dict[str, str]:
    """Returns SHA-256 digests, by config field, of all that a run reads, one field perhaps left out."""
    fields = flatten(config)
    digests = {f"config.{field}": _digest(field, fields[field]) for field in INPUT_FIELDS if field != without}
    return {field: digest for field, digest in digests.items() if digest}


def moved_inputs(directory: str, fields: Iterable[str], config: Config) -> list[str]:
    """Returns those of some fields of the config that name, elsewhere, the very content that a run was begun with."""
    if not files.exists(os.path.join(directory, layout.PROVENANCE)):
        return []
    first, paths = read(directory)[0]["inputs"], flatten(config)
    moved = []
    for field in fields:
        if field in INPUT_FIELDS and f"config.{field}" in first:
            with contextlib.suppress(InputError, OSError):
                if _digest(field, paths[field]) == first[f"config.{field}"]:
                    moved.append(field)
    return moved


def _digest(field: str, path: str) -> str | None:
    """Returns the SHA-256 of what a field names, None where that is no file; manifests hold those of their shards."""
    if field.endswith(".records"):
        return manifest.digest(path) if path else None
    if field == "data.label_space" and path not in labels.LABEL_SPACES:
        path = shipped.find(path, shipped.CLASSES)
    if field == _INITIAL_WEIGHTS and not files.is_folder(path):
        path = shipped.find(path, shipped.WEIGHTS)
    if files.exists(path) and not files.is_folder(path):
        return files.sha256(path)
    if field == _INITIAL_WEIGHTS and path not in ("", "imagenet"):
        return checkpoint.fingerprint(path)
    return None


def check_inputs(expected: dict[str, str], digests: dict[str, str], directory: str) -> None:
    """Raises an `InputError` if one of the digests, by field, is not the expected one."""
    changed = [field for field in expected if expected[field] != digests.get(field)]
    if changed:
        raise InputError(
            f"{', '.join(changed)} is not what {directory} was begun with (its SHA-256 differs): "
            "bring the same files back, or begin another run"
        )


def environment() -> dict:
    """Returns versions of Python and of all packages, the machine, and the commit of the sources."""
    installed = importlib.metadata.distributions()  # one that was removed by halves has no name
    packages = {package.name: package.version for package in installed if package.name}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": machine.available_cores(),
        "devices": [device.name for device in tf.config.list_physical_devices()],
        "git": {"commit": _git("rev-parse", "HEAD"), "uncommitted": _git("status", "--porcelain")},
        "packages": dict(sorted(packages.items())),
    }


def _git(*arguments: str) -> str:
    """Returns what git says of the sources; "" where they are no checkout or there is no git."""
    command = ["git", "-C", _SOURCES, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def changes(run: str) -> list[str]:
    """Returns a line for each part of the environment that is another now than when the run was begun."""

    def flat(nested: dict) -> dict:
        groups = [content for content in nested.values() if isinstance(content, dict)]
        return {
            name: content for group in (nested, *groups) for name, content in group.items() if content not in groups
        }

    then, now = flat(read(run)[0]["environment"]), flat(environment())
    return [
        f"{name}: {then.get(name)!r} then, {now.get(name)!r} now"
        for name in then | now
        if then.get(name) != now.get(name)
    ]
