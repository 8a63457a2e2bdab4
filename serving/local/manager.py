"""Which versions of which models are served: polled from the file system, loaded, labelled and unloaded."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import tensorflow as tf
from absl import logging
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.config import model_server_config_pb2

from .servable import Servable, Settings, message

_State = get_model_status_pb2.ModelVersionStatus.State


@dataclass
class _Version:
    number: int
    path: str
    state: int = _State.START
    error: tf.errors.OpError | None = None
    servable: Servable | None = None
    users: int = 0  # requests that run
    attempts: int = 0
    next_attempt: float = 0.0


@dataclass
class _Model:
    config: model_server_config_pb2.ModelConfig
    versions: dict[int, _Version]
    labels: dict[str, int]
    aspired: set[int]


@dataclass(frozen=True)
class ManagerSettings:
    """How the manager works; the fields are flags of the server.

    Attributes:
      poll_wait_seconds: between two looks at the file system.
      max_num_load_retries: after the first attempt.
      load_retry_interval_seconds: between attempts.
      labels_for_unavailable: labels may name versions that are not loaded.
    """

    poll_wait_seconds: float = 1.0
    max_num_load_retries: int = 5
    load_retry_interval_seconds: float = 60.0
    labels_for_unavailable: bool = False


class Manager:
    """Holds the models. A request holds its version, so that no version is unloaded under it."""

    def __init__(self, servable_settings: Settings, settings: ManagerSettings):
        """Sets up a manager without models; see `apply`."""
        self._servable_settings = servable_settings
        self._settings = settings
        self._models: dict[str, _Model] = {}
        self._changed = threading.Condition()  # guards all state; notified when a request ends
        self._polling = threading.Lock()
        self._stopped = threading.Event()

    def apply(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Serves these models from now on, and no others; returns when their versions were tried.

        Raises:
          tf.errors.FailedPreconditionError: a label names a version that is not available; the labels stay as they
            were.
        """
        wanted = {model.name: model for model in config.model_config_list.config}
        with self._polling:
            old = dict(self._models)
            moved = {
                name: _Model(model, {}, {}, set())
                for name, model in wanted.items()
                if name in old and old[name].config.base_path != model.base_path
            }
            for name, model in moved.items():
                self._poll_model(name, model)  # the old one answers until then
            with self._changed:
                self._models = moved | {
                    name: old.get(name) or _Model(model, {}, {}, set())
                    for name, model in wanted.items()
                    if name not in moved
                }
                for name, model in wanted.items():
                    self._models[name].config = model
            for name, model in self._models.items():
                self._poll_model(name, model)
            for model in [old[name] for name in old if name in moved or name not in wanted]:
                for version in model.versions.values():
                    self._unload(version)
        self._assign_labels(wanted)

    def knows(self, name: str) -> bool:
        """Tells whether there is a model of this name."""
        return name in self._models

    def wait(self, seconds: float) -> bool:
        """Waits, and tells whether the manager was stopped."""
        return self._stopped.wait(seconds)

    def run(self) -> None:
        """Polls until `stop`."""
        while not self.wait(self._settings.poll_wait_seconds):
            try:
                self.poll()
            except Exception:
                logging.exception("polling failed")

    def stop(self) -> None:
        """Ends `run` and unloads everything."""
        self._stopped.set()
        with self._polling:
            for model in self._models.values():
                for version in model.versions.values():
                    self._unload(version)

    def poll(self) -> None:
        """Looks at the file system once: loads what is new, then unloads what is old."""
        with self._polling:
            for name, model in self._models.items():
                self._poll_model(name, model)

    @contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, Servable]]:
        """Gives the number and the servable of a version, the newest if none is asked for.

        Raises:
          tf.errors.NotFoundError: no such model, or no such version that is available.
          tf.errors.InvalidArgumentError: no such label.
        """
        with self._changed:
            version_in_use = self._find(name, version, label)
            version_in_use.users += 1
        try:
            yield version_in_use.number, version_in_use.servable
        finally:
            with self._changed:
                version_in_use.users -= 1
                self._changed.notify_all()

    def status(self, name: str, version: int | None = None, label: str | None = None):
        """Returns the GetModelStatusResponse of a model, or of one version of it.

        Raises:
          tf.errors.NotFoundError: no such model or version.
        """
        response = get_model_status_pb2.GetModelStatusResponse()
        with self._changed:
            if name not in self._models:
                raise _not_found(f"Could not find any versions of model {name}")
            model = self._models[name]
            number = self._labelled(model, label) if label else version
            for known in sorted(model.versions.values(), key=lambda known: -known.number):
                if number in (None, known.number):
                    added = response.model_version_status.add(version=known.number, state=known.state)
                    added.status.error_code = known.error.error_code if known.error else 0
                    added.status.error_message = message(known.error) if known.error else ""
        if not response.model_version_status:
            raise _not_found(
                f"Could not find {'any versions' if number is None else f'version {number}'} of model {name}"
            )
        return response

    def available(self) -> dict[str, str]:
        """Returns the path of the newest available version of every model that has one."""
        with self._changed:
            paths = {}
            for name, model in self._models.items():
                loaded = [v for v in model.versions.values() if v.state == _State.AVAILABLE]
                if loaded:
                    paths[name] = max(loaded, key=lambda version: version.number).path
            return paths

    def _find(self, name: str, number: int | None, label: str | None) -> _Version:
        model = self._models.get(name)
        if model is None:
            raise _not_found(f"Servable not found for request: Latest({name})")
        if label:
            number = self._labelled(model, label)
        available = {v.number: v for v in model.versions.values() if v.state == _State.AVAILABLE}
        if number is None:
            number = max(available, default=None)
        if number not in available:
            wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise _not_found(f"Servable not found for request: {wanted}")
        return available[number]

    def _labelled(self, model: _Model, label: str) -> int:
        if label not in model.labels:
            raise tf.errors.InvalidArgumentError(None, None, f"Unrecognized servable version label: {label}")
        return model.labels[label]

    def _assign_labels(self, wanted: dict[str, model_server_config_pb2.ModelConfig]) -> None:
        with self._changed:
            for name, config in wanted.items():
                model = self._models[name]
                for label, number in config.version_labels.items():
                    version = model.versions.get(number)
                    there = version is not None and version.state == _State.AVAILABLE
                    if not (there or self._settings.labels_for_unavailable):
                        raise tf.errors.FailedPreconditionError(
                            None, None, f"label {label} of {name} is for version {number}, which is not available"
                        )
            for name, config in wanted.items():
                self._models[name].labels = dict(config.version_labels)

    def _poll_model(self, name: str, model: _Model) -> None:
        self._aspire(name, model)
        for version in sorted(model.versions.values(), key=lambda version: version.number):
            if version.state in (_State.START, _State.LOADING) and time.monotonic() >= version.next_attempt:
                self._load(name, version)
        available = [version for version in model.versions.values() if version.state == _State.AVAILABLE]
        # An old version stays until a new one can answer.
        if any(version.number in model.aspired for version in available) or not model.aspired:
            for version in available:
                if version.number not in model.aspired:
                    self._unload(version)

    def _aspire(self, name: str, model: _Model) -> None:
        """Notes which versions there should be, and adds the new ones."""
        base_path = model.config.base_path
        try:
            there = {int(entry): entry for entry in os.listdir(base_path) if entry.isdecimal()}
        except OSError as error:
            if not model.versions:
                logging.log_every_n_seconds(logging.ERROR, "model %s: %s: %s", 30, name, base_path, error.strerror)
            return  # a file system that is away for a moment must not end the service
        aspired = _choose(sorted(there), model.config.model_version_policy)
        if not aspired and not model.versions:
            logging.log_every_n_seconds(logging.WARNING, "model %s: no versions in %s", 30, name, base_path)
        with self._changed:
            model.aspired = aspired
            for number in aspired:
                known = model.versions.get(number)
                unloaded = known is not None and known.state == _State.END and known.error is None
                if known is None or unloaded:
                    model.versions[number] = _Version(number, os.path.join(base_path, there[number]))
            for number in [v.number for v in model.versions.values() if v.servable is None and v.number not in aspired]:
                if model.versions[number].state != _State.END or model.versions[number].error:
                    del model.versions[number]  # it never was available

    def _load(self, name: str, version: _Version) -> None:
        with self._changed:
            version.state = _State.LOADING
        version.attempts += 1
        started = time.monotonic()
        try:
            servable, error = Servable(version.path, self._servable_settings), None
        except tf.errors.OpError as failure:
            servable, error = None, failure
        except Exception as failure:
            servable, error = None, tf.errors.InternalError(None, None, f"{type(failure).__name__}: {failure}")
        with self._changed:
            version.servable = servable
            if servable:
                version.state = _State.AVAILABLE
            elif version.attempts > self._settings.max_num_load_retries:
                version.state, version.error = _State.END, error
            else:
                version.next_attempt = time.monotonic() + self._settings.load_retry_interval_seconds
        if error:
            logging.error("model %s version %d, attempt %d: %s", name, version.number, version.attempts, message(error))
        else:
            logging.info("model %s version %d: loaded in %.1f s", name, version.number, time.monotonic() - started)

    def _unload(self, version: _Version) -> None:
        with self._changed:
            if version.state not in (_State.AVAILABLE, _State.START, _State.LOADING):
                return
            version.state = _State.UNLOADING
            self._changed.wait_for(lambda: version.users == 0)
            servable, version.servable = version.servable, None
        if servable:
            servable.close()
        with self._changed:
            version.state = _State.END
        logging.info("version %d of %s: unloaded", version.number, version.path)


def _choose(numbers: list[int], policy: model_server_config_pb2.ModelConfig) -> set[int]:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return set(numbers)
    if choice == "specific":
        return set(numbers) & set(policy.specific.versions)
    count = policy.latest.num_versions if choice == "latest" else 1
    return set(numbers[-max(count, 1) :])


def _not_found(message: str) -> tf.errors.NotFoundError:
    return tf.errors.NotFoundError(None, None, message)
