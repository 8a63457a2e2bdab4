"""A small server for development, demonstrations and tests that is COMPATIBLE with TensorFlow Serving; it is not it.

fada-tf serve --model_name=segmenter --model_base_path=models/segmenter
fada-tf serve --model_config_file=my/models.config --enable_batching \
    --batching_parameters_file=serving/batching.config

It serves the same SavedModels over the same gRPC and REST interfaces, on this machine only. Flags that
tensorflow_model_server has as well have the same names and meaning. http://127.0.0.1:8501/ has a page to try the model.
"""

import asyncio
import importlib.util
import os
import signal
import sys
import threading

from absl import app, flags, logging

HOST = "127.0.0.1"
_NOTICE = "compatible with TensorFlow Serving, not TensorFlow Serving: for development, demonstrations and tests"
_CORES = os.cpu_count() or 1
_MAX_THREADS = 512
_PACKAGES = ("aiohttp", "grpc", "prometheus_client", "tensorflow_serving")

_PORT = flags.DEFINE_integer("port", 8500, "Port of gRPC; 0: none.", lower_bound=0, upper_bound=65535)
_REST_API_PORT = flags.DEFINE_integer("rest_api_port", 8501, "Port of HTTP; 0: none.", lower_bound=0, upper_bound=65535)
_MODEL_CONFIG_FILE = flags.DEFINE_string("model_config_file", "", "Text proto of a ModelServerConfig.")
_CONFIG_POLL = flags.DEFINE_integer(
    "model_config_file_poll_wait_seconds",
    0,
    "Seconds between two looks at the config file; 0: it is read once.",
    lower_bound=0,
)
_MODEL_NAME = flags.DEFINE_string("model_name", "default", "Name of the model, without a config file.")
_MODEL_BASE_PATH = flags.DEFINE_string("model_base_path", "", "Folder of its versions, without a config file.")
_FILE_POLL = flags.DEFINE_float(
    "file_system_poll_wait_seconds", 1.0, "Seconds between two looks for versions.", lower_bound=0.01
)
_ENABLE_BATCHING = flags.DEFINE_bool("enable_batching", False, "Run requests together, on TensorFlow's scheduler.")
_BATCHING_FILE = flags.DEFINE_string("batching_parameters_file", "", "Text proto of BatchingParameters.")
_MONITORING_FILE = flags.DEFINE_string("monitoring_config_file", "", "Text proto of a MonitoringConfig.")
_ENABLE_WARMUP = flags.DEFINE_bool("enable_model_warmup", True, "Run a version's warm-up records before it answers.")
_MAX_RETRIES = flags.DEFINE_integer("max_num_load_retries", 5, "Further attempts to load a version.", lower_bound=0)
_RETRY_MICROS = flags.DEFINE_integer(
    "load_retry_interval_micros", 60_000_000, "Microseconds between attempts.", lower_bound=0
)
_ANY_LABELS = flags.DEFINE_bool(
    "allow_version_labels_for_unavailable_models", False, "Labels may name versions that are not loaded."
)
_REST_TIMEOUT = flags.DEFINE_integer(
    "rest_api_timeout_in_ms", 30_000, "Milliseconds for an HTTP request.", lower_bound=1
)
_REST_THREADS = flags.DEFINE_integer(
    "rest_api_num_threads", 0, "HTTP requests that run at a time; 0: enough.", lower_bound=0
)
_GRPC_THREADS = flags.DEFINE_integer(
    "grpc_max_threads", 0, "gRPC requests that run at a time; 0: enough.", lower_bound=0
)
_INTRA_OP = flags.DEFINE_integer(
    "tensorflow_intra_op_parallelism", 0, "Threads within an operation; 0: all cores.", lower_bound=0
)
_INTER_OP = flags.DEFINE_integer(
    "tensorflow_inter_op_parallelism", 0, "Operations at a time; 0: all cores.", lower_bound=0
)
_PREFER_TENSOR_CONTENT = flags.DEFINE_bool(
    "prefer_tensor_content", False, "Answer gRPC with bytes in tensor_content, not with values in int_val and its like."
)
_GPU_MEMORY = flags.DEFINE_float(
    "per_process_gpu_memory_fraction", 0.0, "Of each GPU; 0: TensorFlow decides.", lower_bound=0
)
# tensorflow_model_server lacks these.
_MAX_REQUESTS = flags.DEFINE_integer(
    "max_waiting_requests", 32, "Requests of an interface that run or wait.", lower_bound=1
)
_MAX_BYTES = flags.DEFINE_integer(
    "rest_api_max_request_bytes", 32 << 20, "Larger HTTP requests are refused.", lower_bound=1
)


def main(argv):
    """Serves until a signal ends it."""
    del argv
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            sys.stderr.write(f"error: the local server needs the package {package}: pip install -e '.[serving]'\n")
            sys.exit(2)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if os.path.exists("/dev/nvidiactl") else "3")
    from .local import configs

    try:
        config, settings, manager_settings, metrics_path = _settings()
    except configs.ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    from .local.manager import Manager

    manager = Manager(settings, manager_settings)
    try:
        asyncio.run(_serve(manager, config, settings.batching, metrics_path))
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}: choose another --port and --rest_api_port\n")
        sys.exit(2)
    finally:
        manager.stop()


def _settings():
    """Returns all that files and flags say, or raises ConfigError."""
    from tensorflow_serving.config import model_server_config_pb2

    from .local import configs
    from .local.manager import ManagerSettings
    from .local.servable import Batching, Settings

    if _MODEL_CONFIG_FILE.value:
        config = configs.read_models(_MODEL_CONFIG_FILE.value)
    else:
        config = model_server_config_pb2.ModelServerConfig()
        config.model_config_list.config.add(name=_MODEL_NAME.value, base_path=_MODEL_BASE_PATH.value)
    batching = None
    if _ENABLE_BATCHING.value:
        batching = configs.read_batching(_BATCHING_FILE.value) if _BATCHING_FILE.value else Batching()
    metrics_path = configs.read_monitoring(_MONITORING_FILE.value) if _MONITORING_FILE.value else configs.METRICS_PATH
    settings = Settings(batching, _ENABLE_WARMUP.value, _INTRA_OP.value, _INTER_OP.value, _GPU_MEMORY.value)
    manager_settings = ManagerSettings(
        _FILE_POLL.value, _MAX_RETRIES.value, _RETRY_MICROS.value / 1e6, _ANY_LABELS.value
    )
    return config, settings, manager_settings, metrics_path


async def _serve(manager, config, batching, metrics_path) -> None:
    from .local import grpc_server
    from .local.metrics import Metrics
    from .local.rest_server import RestServer
    from .local.service import Service

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    service = Service(manager, Metrics())
    # Requests wait in threads for their batch: fewer threads than the scheduler holds would keep batches small.
    enough = min(batching.capacity + 1, _MAX_THREADS) if batching else 4 * _CORES
    grpc = runner = None
    if _PORT.value:
        threads = _GRPC_THREADS.value or enough
        grpc = grpc_server.start(
            service, f"{HOST}:{_PORT.value}", threads, max(_MAX_REQUESTS.value, threads),
            prefer_tensor_content=_PREFER_TENSOR_CONTENT.value,
        )  # fmt: skip
        _say(f"gRPC on {HOST}:{_PORT.value}")
    if _REST_API_PORT.value:
        threads = _REST_THREADS.value or enough
        rest = RestServer(
            service, threads=threads, timeout=_REST_TIMEOUT.value / 1e3,
            max_requests=max(_MAX_REQUESTS.value, threads), max_request_bytes=_MAX_BYTES.value,
            metrics_path=metrics_path,
        )  # fmt: skip
        runner = await rest.start(HOST, _REST_API_PORT.value)
        _say(f"REST and a page to try on http://{HOST}:{_REST_API_PORT.value}/")
    threading.Thread(target=_manage, args=(manager, config), daemon=True).start()
    await stop.wait()
    if grpc:
        grpc.stop(grace=5).wait()
    if runner:
        await runner.cleanup()


def _manage(manager, config) -> None:
    """Loads the models, then polls folders and, if asked to, the config file."""
    applied = _apply(manager, config)
    if _MODEL_CONFIG_FILE.value and _CONFIG_POLL.value:
        threading.Thread(target=_poll_config, args=(manager, config, applied), daemon=True).start()
    manager.run()


def _poll_config(manager, config, applied: bool) -> None:
    from .local import configs

    while not manager.wait(_CONFIG_POLL.value):
        try:
            newest = configs.read_models(_MODEL_CONFIG_FILE.value)
        except configs.ConfigError as error:
            logging.error("%s: the models stay as they are", error)
            continue
        if newest != config or not applied:  # a label may name a version that has come since
            config, applied = newest, _apply(manager, newest)


def _apply(manager, config) -> bool:
    """Returns whether everything of the config could be done."""
    import tensorflow as tf

    try:
        manager.apply(config)
    except tf.errors.OpError as error:
        logging.error("%s", error.message)
        return False
    return True


def _say(line: str) -> None:
    sys.stderr.write(f"{line} ({_NOTICE})\n")
    sys.stderr.flush()


def _parse_flags(argv):
    try:
        rest = flags.FLAGS(list(argv))[1:]
        if rest:
            raise flags.Error(f"unexpected argument {rest[0]!r}: options start with --")
        if bool(_MODEL_CONFIG_FILE.value) == bool(_MODEL_BASE_PATH.value):
            raise flags.Error("give either --model_config_file or --model_base_path")
        if _BATCHING_FILE.value and not _ENABLE_BATCHING.value:
            raise flags.Error("--batching_parameters_file needs --enable_batching")
    except flags.Error as error:
        sys.stderr.write(f"error: {error} (--help lists the options)\n")
        sys.exit(2)
    return argv[:1]


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
