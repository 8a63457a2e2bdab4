"""Where a run comes from: command, versions, git state, checksums of its inputs."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys

import tensorflow as tf

from fada_tf import machine
from fada_tf.config import Config, trained_domains
from fada_tf.data import files
from fada_tf.data.manifest import MANIFEST_NAME
from fada_tf.errors import InputError
from fada_tf.models import checkpoint

PROVENANCE_FILE = "provenance.json"
_SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def record(directory: str, config: Config) -> None:
    """Adds this start of a run to provenance.json, if it differs from the one before.

    Raises:
      InputError: the data are not those that the run was begun with.
    """
    path = os.path.join(directory, PROVENANCE_FILE)
    starts = read(directory) if files.exists(path) else []
    start = {
        "command": sys.argv,
        "folder": os.getcwd(),
        "inputs": input_checksums(config),
        "environment": environment(),
    }
    if starts:
        check_inputs(starts[0]["inputs"], start["inputs"], directory, ignore=("config.model.initial_weights",))
    if starts[-1:] != [start]:
        files.write_atomically(path, (json.dumps([*starts, start], indent=1) + "\n").encode())


def read(directory: str) -> list[dict]:
    """Returns the starts of a run, the first one first.

    Raises:
      InputError: there is no provenance.json, or none of this program.
    """
    path = os.path.join(directory, PROVENANCE_FILE)
    try:
        starts = json.loads(files.read_bytes(path))
        if all(isinstance(start["inputs"], dict) and isinstance(start["environment"], dict) for start in starts):
            return starts
        reason = "lacks inputs or environment"
    except OSError as error:
        reason = error.strerror
    except (ValueError, TypeError, KeyError) as error:
        reason = repr(error)
    raise InputError(f"{path} cannot be read ({reason}): name a run directory of scripts/train.py")


def input_checksums(config: Config) -> dict[str, str]:
    """Returns SHA-256 digests, by config field, of all that a run reads; manifests hold those of their shards."""
    manifests = {f"config.data.{name}.records": domain.records for name, domain in trained_domains(config).items()}
    if config.data.evaluation.records:
        manifests["config.data.evaluation.records"] = config.data.evaluation.records
    digests = {field: files.sha256(files.join(folder, MANIFEST_NAME)) for field, folder in manifests.items()}
    if os.path.isfile(config.data.label_space):
        digests["config.data.label_space"] = files.sha256(config.data.label_space)
    weights = config.model.initial_weights
    if os.path.isfile(weights):
        digests["config.model.initial_weights"] = files.sha256(weights)
    elif weights and weights != "imagenet":
        digests["config.model.initial_weights"] = checkpoint.fingerprint(weights)
    return digests


def check_inputs(expected: dict[str, str], found: dict[str, str], directory: str, ignore: tuple[str, ...] = ()) -> None:
    """Raises an `InputError` if a digest differs."""
    changed = [field for field in expected if field not in ignore and expected[field] != found.get(field)]
    if changed:
        raise InputError(
            f"{', '.join(changed)} is not what {directory} was begun with (its SHA-256 differs): "
            "bring the same files back, or begin another run"
        )


def environment() -> dict:
    """Returns versions of Python and of all packages, the machine, and the commit of the sources."""
    found = importlib.metadata.distributions()  # one that was removed by halves has no name
    packages = {package.name: package.version for package in found if package.name}
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

    def flat(values: dict) -> dict:
        groups = [content for content in values.values() if isinstance(content, dict)]
        return {
            name: content for group in (values, *groups) for name, content in group.items() if content not in groups
        }

    then, now = flat(read(run)[0]["environment"]), flat(environment())
    return [
        f"{name}: {then.get(name)!r} then, {now.get(name)!r} now"
        for name in then | now
        if then.get(name) != now.get(name)
    ]
