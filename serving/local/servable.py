"""One loaded version of a model: a TensorFlow session, run as TensorFlow Serving runs it."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

DEFAULT_SIGNATURE = "serving_default"
MAX_WARMUP_RECORDS = 1000
_SERVE = "serve"
# Bad input, another size or a short deadline of ONE request ends its whole batch, with these: alone, each request gets
# its own answer. (INTERNAL is what the scheduler makes of a batch that was cancelled before it ran.)
_ENDS_THE_BATCH = (tf.errors.InvalidArgumentError, tf.errors.CancelledError, tf.errors.InternalError)
_WHERE = re.compile(r"\n*\s*\[\[\{\{node .*|^Graph execution error:\s*|\n\s*Original stack trace.*", re.DOTALL)
_NODE_LINE = "\nNode: "  # ends the places in the program that built the graph
_ASSERTION = "assertion failed: "
_MAX_TIMEOUT_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True)
class Batching:
    """TensorFlow's batch scheduler, one a signature; the fields are those of the batching parameters file.

    Attributes:
      max_batch_size: rows in a batch.
      batch_timeout_micros: how long a batch that is not full waits.
      max_enqueued_batches: more are refused with UNAVAILABLE.
      num_batch_threads: batches that run at a time.
      allowed_batch_sizes: batches are padded up to one of these; the last is max_batch_size. Empty: any size.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = os.cpu_count() or 1
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()

    @property
    def capacity(self) -> int:
        """Rows that run or wait when the queue is full."""
        return self.max_batch_size * (self.num_batch_threads + self.max_enqueued_batches)


@dataclass(frozen=True)
class Settings:
    """How versions are loaded.

    Attributes:
      batching: the scheduler; None runs every request alone.
      warmup: run the version's warm-up records before it is available.
      intra_op_threads: of TensorFlow; 0: as many as cores.
      inter_op_threads: of TensorFlow; 0: as many as cores.
      gpu_memory_fraction: of each GPU; 0: what TensorFlow decides.
    """

    batching: Batching | None = None
    warmup: bool = True
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0


class _Signature:
    """The placeholders and results of a signature, run alone and through the scheduler."""

    def __init__(self, name: str, function, batching: Batching | None):
        with tf.name_scope(f"signature_{name}"):
            specs = function.structured_input_signature[1]
            self.inputs = {key: tf.compat.v1.placeholder(spec.dtype, spec.shape) for key, spec in specs.items()}
            self.outputs = function(**self.inputs)
            self.batched_outputs = self._batched(function, batching) if batching else None

    def _batched(self, function, batching: Batching) -> dict[str, tf.Tensor]:
        inputs, outputs = list(self.inputs), list(self.outputs)

        @tf.nondifferentiable_batch_function(
            num_batch_threads=batching.num_batch_threads,
            max_batch_size=batching.max_batch_size,
            batch_timeout_micros=batching.batch_timeout_micros,
            allowed_batch_sizes=list(batching.allowed_batch_sizes) or None,
            max_enqueued_batches=batching.max_enqueued_batches,
            autograph=False,
            enable_large_batch_splitting=False,
        )
        def run(*tensors):
            results = function(**dict(zip(inputs, tensors, strict=True)))
            return [results[name] for name in outputs]

        return dict(zip(outputs, run(*self.inputs.values()), strict=True))


class Servable:
    """A loaded SavedModel. All errors are `tf.errors.OpError` with the code that goes over the wire.

    Attributes:
      signature_defs: what the SavedModel says of its signatures, by name.
    """

    def __init__(self, path: str, settings: Settings):
        """Loads and warms up.

        Args:
          path: the version's folder.
          settings: how.

        Raises:
          tf.errors.OpError: it is no SavedModel that can be served, or a warm-up request failed.
        """
        self._batching = settings.batching
        try:
            with open(os.path.join(path, "saved_model.pb"), "rb") as file:
                graphs = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
        except OSError as error:
            raise tf.errors.NotFoundError(None, None, f"{path}/saved_model.pb: {error.strerror}") from error
        except Exception as error:
            raise tf.errors.DataLossError(None, None, f"{path}/saved_model.pb is damaged: {error}") from error
        served = [graph for graph in graphs if _SERVE in graph.meta_info_def.tags]
        if not served:
            raise tf.errors.NotFoundError(None, None, f"{path} has no graph with the tag {_SERVE!r}")
        self.signature_defs = {
            name: value for name, value in served[0].signature_def.items() if not name.startswith("__saved_model")
        }
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=settings.intra_op_threads,
            inter_op_parallelism_threads=settings.inter_op_threads,
        )
        config.gpu_options.per_process_gpu_memory_fraction = settings.gpu_memory_fraction
        with tf.Graph().as_default():
            try:
                self._loaded = tf.saved_model.load(path, tags=[_SERVE])
            except (OSError, ValueError) as error:
                raise tf.errors.InvalidArgumentError(None, None, f"{path} cannot be loaded: {error}") from error
            self._signatures = {
                name: _Signature(name, function, self._batching) for name, function in self._loaded.signatures.items()
            }
            self._session = tf.compat.v1.Session(config=config)
            self._session.run([tf.compat.v1.global_variables_initializer(), tf.compat.v1.tables_initializer()])
        if settings.warmup:
            try:
                self._warm_up(os.path.join(path, "assets.extra", "tf_serving_warmup_requests"))
            except Exception:
                self.close()
                raise

    def run(
        self,
        signature_name: str,
        inputs: dict[str, np.ndarray],
        output_filter: Iterable[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          signature_name: empty for `serving_default`.
          inputs: by name, exactly the signature's.
          output_filter: names of the wanted outputs; none: all.
          timeout: seconds until DEADLINE_EXCEEDED.

        Returns:
          The outputs by name.
        """
        signature = self._signatures[self.signature(signature_name)]
        feeds = self._feeds(signature, inputs)
        wanted = list(output_filter) or list(signature.outputs)
        for name in wanted:
            if name not in signature.outputs:
                raise _invalid(
                    f"output tensor alias not found in signature: {name}; it has {_names(signature.outputs)}"
                )
        if timeout is not None and timeout <= 0:
            raise tf.errors.DeadlineExceededError(None, None, "the deadline passed before the request ran")
        # gRPC gives a request without a deadline one in the year 292 billion.
        milliseconds = 0 if timeout is None else int(min(max(timeout * 1000, 1), _MAX_TIMEOUT_MS))
        options = tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)

        results = self._run(signature, feeds, options)
        # A session returns a single text as bytes, and a single number as numpy's scalar.
        return {name: np.asarray(results[name], signature.outputs[name].dtype.as_numpy_dtype) for name in wanted}

    def signature(self, name: str) -> str:
        """Returns the name of a signature, `serving_default` for an empty one, or raises InvalidArgumentError."""
        name = name or DEFAULT_SIGNATURE
        if name not in self.signature_defs:
            raise _invalid(f'Serving signature name: "{name}" not found in signature def; there are: '
                           f"{_names(self.signature_defs)}")  # fmt: skip
        return name

    def close(self) -> None:
        """Frees the session; nothing may run any more."""
        self._session.close()
        self._loaded = self._signatures = None

    def _run(self, signature: _Signature, feeds: dict[tf.Tensor, np.ndarray], options) -> dict[str, np.ndarray]:
        # Always all outputs: every other choice would make the session optimise the graph anew, for seconds.
        if not self._batching:
            return self._session.run(signature.outputs, feeds, options)
        self._check_rows(feeds)
        try:
            return self._session.run(signature.batched_outputs, feeds, options)
        except _ENDS_THE_BATCH:
            return self._session.run(signature.outputs, feeds, options)

    def _feeds(self, signature: _Signature, inputs: dict[str, np.ndarray]) -> dict[tf.Tensor, np.ndarray]:
        if inputs.keys() != signature.inputs.keys():
            raise _invalid(f"inputs must be exactly {_names(signature.inputs)}, not {_names(inputs) or 'none'}")
        for name, placeholder in signature.inputs.items():
            value = inputs[name]
            dtype = tf.as_dtype(value.dtype if value.dtype.kind not in "OSU" else tf.string)
            if dtype != placeholder.dtype:
                raise _invalid(f"input {name} must be {placeholder.dtype.name}, not {dtype.name}")
            if not placeholder.shape.is_compatible_with(value.shape):
                raise _invalid(f"input {name} must have shape {placeholder.shape}, not {list(value.shape)}")
        return {placeholder: inputs[name] for name, placeholder in signature.inputs.items()}

    def _check_rows(self, feeds: dict[tf.Tensor, np.ndarray]) -> None:
        rows = {value.shape[0] if value.ndim else -1 for value in feeds.values()}
        limit = self._batching.max_batch_size
        if len(rows) != 1 or not 0 < max(rows) <= limit:
            raise _invalid(f"with batching, all inputs must have the same 1 to {limit} rows, not {sorted(rows)}")

    def _warm_up(self, path: str) -> None:
        if not os.path.exists(path):
            return
        alone: set[str] = set()  # signatures whose way without the scheduler is warm as well
        for index, record in enumerate(tf.data.TFRecordDataset(path).as_numpy_iterator()):
            if index >= MAX_WARMUP_RECORDS:
                raise _invalid(f"{path} has more than {MAX_WARMUP_RECORDS} warm-up records")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                raise tf.errors.UnimplementedError(None, None, f"record {index} of {path} is no predict_log")
            request = log.predict_log.request
            name, inputs = self.signature(request.model_spec.signature_name), tensors(request.inputs)
            self.run(name, inputs)
            if self._batching and name not in alone:
                alone.add(name)
                self._session.run(self._signatures[name].outputs, self._feeds(self._signatures[name], inputs))


def tensors(protos) -> dict[str, np.ndarray]:
    """Returns the arrays of a map of TensorProtos, or raises InvalidArgumentError."""
    try:
        return {name: tf.make_ndarray(proto) for name, proto in protos.items()}
    except (TypeError, ValueError) as error:
        raise _invalid(f"a tensor is damaged: {error}") from error


def message(error: tf.errors.OpError) -> str:
    """Returns an error's text without the places in the graph and the brackets of a failed assertion."""
    text = error.message
    if _NODE_LINE in text:
        text = text.rpartition(_NODE_LINE)[2].partition("\n")[2]
    text = _WHERE.sub("", text).strip()
    if text.startswith(_ASSERTION):
        text = text.removeprefix(_ASSERTION).replace("] [", " ").strip("[]")
    return text or type(error).__name__


def _invalid(message: str) -> tf.errors.InvalidArgumentError:
    return tf.errors.InvalidArgumentError(None, None, message)


def _names(mapping) -> str:
    return ", ".join(sorted(mapping))
