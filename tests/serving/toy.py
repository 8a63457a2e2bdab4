"""A tiny SavedModel with a signature for each thing that a server may do wrong; the version shows in its answers."""

import pathlib

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

SLOW_STEP = 0.02  # about the seconds of a step, on one core


class _Toy(tf.Module):
    def __init__(self, version: int):
        super().__init__()
        self.version = tf.Variable(float(version))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def scale(self, x):
        """Multiplies by the version; refuses negative numbers."""
        with tf.control_dependencies([tf.debugging.assert_non_negative(x, "x is negative")]):
            return {"y": x * self.version}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "number"), tf.TensorSpec([None], tf.string, "name")])
    def mixed(self, number, name):
        """Several inputs and outputs, texts and bytes."""
        return {"double": number * 2, "text": tf.strings.upper(name), "raw_bytes": name}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "steps")])
    def slow(self, steps):
        """Works for steps[0] * SLOW_STEP seconds or so."""
        matrix = tf.eye(400)
        for _ in tf.range(steps[0]):
            matrix = tf.matmul(matrix, matrix)
            matrix = tf.linalg.l2_normalize(matrix + tf.linalg.inv(matrix + tf.eye(400)))
        return {"done": steps + tf.cast(matrix[0, 0] * 0.0, tf.int32)}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.uint8, "image")])
    def width(self, image):
        """Rows of any one length."""
        return {"width": tf.fill([tf.shape(image)[0]], tf.shape(image)[1])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "values")])
    def types(self, values):
        """An output of every type that TensorFlow Serving answers with in a field of its own, and single values."""
        kinds = (tf.float32, tf.float64, tf.float16, tf.bfloat16, tf.int8, tf.int16, tf.int32, tf.uint8, tf.uint16,
                 tf.int64, tf.uint32, tf.uint64, tf.bool)  # fmt: skip
        outputs = {kind.name: tf.cast(values, kind) for kind in kinds}
        return outputs | {"string": tf.strings.as_string(values), "text": tf.constant("one"), "count": tf.size(values)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def half(self, x):
        """An output that JSON cannot hold."""
        return {"y": tf.cast(x, tf.float16)}


def write(folder: pathlib.Path, version: int, *, warmup: str = "good") -> None:
    """Writes FOLDER/VERSION in whole.

    Args:
      folder: of the model.
      version: its number, which `scale` multiplies with.
      warmup: "good", "bad" (a request that the model refuses) or "damaged" (no record).
    """
    partial = folder / f"{version}.partial"
    toy = _Toy(version)
    signatures = {"serving_default": toy.scale, "mixed": toy.mixed, "slow": toy.slow, "width": toy.width,
                  "types": toy.types, "half": toy.half}  # fmt: skip
    tf.saved_model.save(toy, str(partial), signatures=signatures)
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "toy"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.full([1, 2], -1 if warmup == "bad" else 1, np.float32)))
    (partial / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(partial / "assets.extra/tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString() if warmup != "damaged" else b"\xff\xff\xff")
    partial.rename(folder / str(version))


CONFIG = """
model_config_list {{
  config {{
    name: "toy" base_path: "{base}/toy" model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 2 }} }}
    version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "canary" value: 2 }}
  }}
  config {{ name: "hot" base_path: "{base}/hot" model_platform: "tensorflow" }}
  config {{ name: "cold" base_path: "{base}/cold" model_platform: "tensorflow" }}
  config {{ name: "segmenter" base_path: "{base}/segmenter" model_platform: "tensorflow" }}
}}
"""
