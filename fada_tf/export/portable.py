"""The segmenter for runtimes without TensorFlow: LiteRT and ONNX, at one size, from pixels to probabilities."""

import importlib
import json
import tempfile
import zipfile

import keras
import numpy as np
import tensorflow as tf

from fada_tf import forms
from fada_tf.data import files
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.export.signatures import ServingOptions
from fada_tf.models.class_maps import predict_probabilities
from fada_tf.models.segmenter import Segmenter

FILES = {"litert": "model.tflite", "onnx": "model.onnx"}
INPUT = "images"
OUTPUT = "probabilities"
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
        logits, size = self.segmenter(images), self.input_shape_of_one[1:3]
        return {OUTPUT: predict_probabilities([logits], size, align_corners=self.segmenter.align_corners)}


def check_format(name: str) -> None:
    """Raises InputError if there is no such format or its packages are not installed."""
    if name not in FILES:
        raise InputError(f"--format={name} is unknown: give saved_model, {', '.join(FILES)} or several with commas")
    for package in _PACKAGES[name]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(f"--format={name} needs {package}: pip install -e '.[{name}]'") from error


def input_size(options: ServingOptions) -> tuple[int, int]:
    """Returns the one (height, width) in pixels that a file takes: that of pictures, or of one of their windows."""
    return options.views.windows.window if options.views.windows else (options.height, options.width)


def metadata(label_space: LabelSpace, options: ServingOptions) -> dict[str, str]:
    """Returns what a file says of itself: its classes, in the order of its outputs, and the input that it takes."""
    (height, width), windows = input_size(options), options.views.windows
    size = f"{options.width}, {options.height}"
    told = [f"{INPUT}: RGB in 0..255, float32 [1, {height}, {width}, 3]"]
    if windows:
        told.append(
            "a window of a picture; windows.json has size and stride, HEIGHTxWIDTH; the last window of a row or column "
            "ends with the picture; where windows overlap, probabilities (softmax) or their logarithms (logits) "
            "are averaged"
        )
    if options.height:
        told.append(
            f"pictures of another size are resized by Pillow's resize(({size}), Image.Resampling.BICUBIC), whose "
            "filter is antialiased"
        )
    texts = {
        "labels.txt": "".join(f"{label}\n" for label in label_space.names),
        "classes.json": json.dumps(label_space.to_json()),
        "input.txt": "; ".join(told),
    }
    return texts | ({"windows.json": json.dumps(windows.texts)} if windows else {})


def write(name: str, segmenter: Segmenter, label_space: LabelSpace, options: ServingOptions, path: str) -> None:
    """Writes the segmenter in a format of `FILES`, with its `metadata`, to `path`.

    ONNX has metadata of its own. Of a LiteRT file they are appended as a zip archive, which `unzip` and
    `zipfile.ZipFile` read, as are the labels that TensorFlow's own tools add.
    """
    model = FixedSizeSegmenter(segmenter, *input_size(options))
    signature = [tf.TensorSpec(model.input_shape_of_one, tf.float32, INPUT)]
    texts = metadata(label_space, options)
    if name == "onnx":
        with forms.chosen("plain"):
            model.export(path, format=name, input_signature=signature, verbose=False)
        onnx = importlib.import_module("onnx")
        written = onnx.load(path)
        onnx.helper.set_model_props(written, texts)
        onnx.save(written, path)
    else:
        files.write_atomically(path, _litert(model, signature))
        with zipfile.ZipFile(path, "a") as archive:
            for key, text in texts.items():
                archive.writestr(key, text)


def _litert(model: FixedSizeSegmenter, signature: list[tf.TensorSpec]) -> bytes:
    """Converts by way of a SavedModel: of a function alone, TensorFlow's converter leaves Keras's variables empty."""
    with forms.chosen("plain"):
        function = tf.function(model, signature, autograph=False).get_concrete_function()
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=function)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def probabilities(name: str, path: str, pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Computes with a written model, in the format's own runtime.

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
        return [session.run([OUTPUT], {INPUT: batch})[0][0] for batch in batches]
    runner = importlib.import_module("ai_edge_litert.interpreter").Interpreter(path).get_signature_runner()
    return [runner(**{INPUT: batch})[OUTPUT][0] for batch in batches]
