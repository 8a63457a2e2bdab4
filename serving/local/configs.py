"""The configuration files of TensorFlow Serving, as text protos."""

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from .. import protocol
from .servable import Batching

METRICS_PATH = "/monitoring/prometheus/metrics"


class ConfigError(Exception):
    """A file that cannot be used; the message says which and why."""


def read_models(path: str) -> model_server_config_pb2.ModelServerConfig:
    """Reads a model config file and checks it.

    Raises:
      ConfigError: it cannot be read, or names a model twice or without a base path.
    """
    config = _read(path, model_server_config_pb2.ModelServerConfig())
    try:
        check_models(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def check_models(config: model_server_config_pb2.ModelServerConfig) -> None:
    """Raises ConfigError if the models cannot be served."""
    names = [model.name for model in config.model_config_list.config]
    for model in config.model_config_list.config:
        if not model.name or not model.base_path:
            raise ConfigError("every config needs a name and a base_path")
        if names.count(model.name) > 1:
            raise ConfigError(f"model {model.name} is there twice")


def read_batching(path: str) -> Batching:
    """Reads a batching parameters file; what it leaves out has the default.

    Raises:
      ConfigError: it cannot be read, or the values cannot work together.
    """
    values = _read(path, protocol.message("BatchingParameters")())
    given = {
        name: getattr(values, name).value
        for name in ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
        if values.HasField(name)
    }
    batching = Batching(**given, allowed_batch_sizes=tuple(values.allowed_batch_sizes))
    sizes = batching.allowed_batch_sizes
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != batching.max_batch_size):
        raise ConfigError(f"{path}: allowed_batch_sizes must rise, and the last must be max_batch_size")
    if min(batching.max_batch_size, batching.max_enqueued_batches, batching.num_batch_threads) < 1:
        raise ConfigError(f"{path}: sizes and counts must be above 0")
    return batching


def read_monitoring(path: str) -> str | None:
    """Returns the metrics' path that a monitoring config file sets; None if it switches them off."""
    values = _read(path, protocol.message("MonitoringConfig")()).prometheus_config
    return (values.path or METRICS_PATH) if values.enable else None


def _read(path: str, message):
    try:
        with open(path, encoding="utf-8") as file:
            return text_format.Parse(file.read(), message)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
