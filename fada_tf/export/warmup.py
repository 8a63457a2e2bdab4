"""Warm-up records: requests that a server sends itself before a version is available."""

import io
import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import tensorflow as tf
from PIL import Image

from fada_tf.data import files
from fada_tf.errors import InputError
from fada_tf.export import signatures
from fada_tf.export.signatures import ServingOptions

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000  # more make TensorFlow Serving refuse the model


def log_messages() -> ModuleType:
    """Returns the module of the records' messages.

    Raises:
      InputError: it is not installed.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise InputError("an export needs the package tensorflow-serving-api: pip install -e '.[serving]'") from error
    return prediction_log_pb2


def write_warmup(
    version: str,
    model_name: str,
    pictures: list[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    options: ServingOptions,
) -> int:
    """Writes a request of every signature, size and batch that the graph accepts, and returns how many.

    Args:
      version: the SavedModel's folder.
      model_name: under which it will be served.
      pictures: RGB uint8 [height, width, 3], at least one.
      sizes: (height, width) of the pictures that will be served.
      batches: numbers of pictures in a request.
      options: the graph's bounds.

    Raises:
      InputError: too many records, or some that no signature accepts.
    """
    for height, width in (*sizes, *(picture.shape[:2] for picture in pictures)):
        if height * width > options.max_pixels:
            raise InputError(f"pictures of {height}x{width} exceed --max_pixels={options.max_pixels}: raise it")
    if not batches:
        raise InputError("--warmup_batches is empty: give the numbers of pictures in a request, such as 1,2,4")
    if max(batches) > options.max_batch:
        raise InputError(f"batches of {max(batches)} exceed --max_batch={options.max_batch}: raise it")
    count = 0
    path = os.path.join(version, WARMUP_FILE)
    files.make_folder(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for size in sizes:
            for batch in batches:
                images = [resized(pictures[i % len(pictures)], size) for i in range(batch)]
                for log in _logs(model_name, images, raw=batch * size[0] * size[1] <= options.max_pixels):
                    writer.write(log.SerializeToString())
                    count += 1
    if count > MAX_RECORDS:
        raise InputError(f"{count} warm-up records are more than {MAX_RECORDS}: give fewer sizes or batches")
    return count


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns an RGB uint8 picture at (height, width)."""
    return np.asarray(Image.fromarray(picture).resize(size[::-1]))


def jpeg(picture: np.ndarray) -> bytes:
    """Returns an RGB uint8 picture as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _logs(model_name: str, pictures: list[np.ndarray], raw: bool) -> list:
    images, encoded = np.stack(pictures), np.array([jpeg(picture) for picture in pictures])
    requests = [(signatures.ENCODED, signatures.IMAGE_BYTES, encoded)]
    if raw:
        requests += [(name, signatures.IMAGES, images) for name in (signatures.DEFAULT, signatures.PROBABILITIES)]
    logs = []
    for signature, name, values in requests:
        log = log_messages().PredictionLog()
        request = log.predict_log.request
        request.model_spec.name, request.model_spec.signature_name = model_name, signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        logs.append(log)
    return logs
