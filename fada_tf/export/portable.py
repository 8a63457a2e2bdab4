"""The segmenter for runtimes without TensorFlow: LiteRT and ONNX, at one size, from pixels to probabilities."""

import importlib

import keras
import numpy as np

from fada_tf.errors import InputError
from fada_tf.evaluation.views import mean_probabilities
from fada_tf.models.segmenter import Segmenter

FILES = {"litert": "model.tflite", "onnx": "model.onnx"}
_PACKAGES = {"litert": {"ai_edge_litert.interpreter"}, "onnx": {"onnxruntime", "tf2onnx"}}


class FixedSizeSegmenter(keras.Model):
    """Maps `images`, RGB float32 [1, height, width, 3] in 0..255, to `probabilities` [1, height, width, classes]."""

    def __init__(self, segmenter: Segmenter, height: int, width: int):
        super().__init__(name="fixed_size_segmenter")
        self.segmenter = segmenter
        self.input_shape_of_one = (1, height, width, 3)
        self.built = True

    def call(self, images):
        """Computes the probabilities."""
        return mean_probabilities([self.segmenter(images)], self.input_shape_of_one[1:3])


def check_format(name: str) -> None:
    """Raises InputError if the packages for a format are not installed."""
    for package in _PACKAGES[name]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(f"--format={name} needs {package}: pip install -e '.[{name}]'") from error


def write(name: str, segmenter: Segmenter, height: int, width: int, path: str) -> None:
    """Writes the segmenter in a format of `FILES` to `path`."""
    model = FixedSizeSegmenter(segmenter, height, width)
    signature = [keras.InputSpec(shape=model.input_shape_of_one, dtype="float32", name="images")]
    model.export(path, format=name, input_signature=signature, verbose=False)


def run(name: str, path: str, pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Runs a written model with the format's own runtime.

    Args:
      name: the format.
      path: the file.
      pictures: RGB [height, width, 3] in 0..255, at the model's size.

    Returns:
      Probabilities, float32 [height, width, classes] each.
    """
    batches = [np.asarray(picture, np.float32)[None] for picture in pictures]
    if name == "onnx":
        session = importlib.import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
        (input_of_model,) = session.get_inputs()
        return [session.run(None, {input_of_model.name: batch})[0][0] for batch in batches]
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(path)
    interpreter.allocate_tensors()
    results = []
    for batch in batches:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return results
