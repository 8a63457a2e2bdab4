"""Initial weights of a segmenter: files of tensors named by variable path, "layer/variable" or deeper."""

import math

import keras
import numpy as np
from absl import logging

from fada_tf import shipped
from fada_tf.data import files
from fada_tf.errors import InputError
from fada_tf.models.backbone_files import read_backbone
from fada_tf.models.published_weights import by_our_paths, recognized
from fada_tf.models.segmenter import Segmenter, find_backbone
from fada_tf.models.variables import named_variables

_LARGEST_ITEM, _HEADER_BYTES = 8, 1024  # bytes of a float64, and of what describes an array in an .npz file, at most


def load_initial_weights(segmenter: Segmenter, source: str) -> str:
    """Loads weights pretrained on ImageNet; layers that the source lacks by nature keep their initial values.

    Args:
      segmenter: the model that is changed.
      source: "" (leave it as it is), "imagenet" (download; vgg16 only), or an .npz file with every tensor of the
        feature extractor, fc6 and fc7 and the classifier's excepted, float32 or float16; by our paths, or by the names
        and in the layouts of a form in which the backbone is published; or the name of one that comes with the library,
        as "efficientnet_lite0". Or a file of PyTorch's or of safetensors, see `read_backbone`.

    Returns:
      One line, also logged: what was loaded and what was not.

    Raises:
      InputError: no such source, or its tensors are not this segmenter's.
    """
    if not source:
        account = f"{segmenter.backbone}: all weights are random"
    else:
        variables = named_variables(segmenter.feature_extractor, segmenter.classifier)
        source = shipped.find(source, shipped.WEIGHTS)
        if source.endswith((".pth", ".safetensors")):
            tensors, (_, *notices) = read_backbone(source, segmenter.backbone)
        else:
            tensors = _download(segmenter.backbone) if source == "imagenet" else _read(source, variables)
            tensors, notices = _by_our_paths(segmenter, tensors, source)
        fresh = find_backbone(segmenter.backbone).fresh_layers
        absent = {name for name in variables if name.startswith(tuple(f"{layer}/" for layer in fresh))}
        absent |= named_variables(segmenter.classifier).keys()
        _check(tensors, variables, absent, f"{source}, for {segmenter.backbone},")
        for name, tensor in tensors.items():
            variables[name].assign(tensor.astype(np.float32))
        initial = [name for name in variables if name not in tensors]
        account = (
            f"{segmenter.backbone}: {len(tensors)} of {len(variables)} tensors from {source}; "
            f"initial: {'; '.join([', '.join(initial) or 'none', *notices])}"
        )
    logging.info("%s", account)
    return account


def _by_our_paths(
    segmenter: Segmenter, tensors: dict[str, np.ndarray], source: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the tensors, those in a published form by our paths, and what users are to read of that form."""
    model = segmenter.feature_extractor
    found = recognized(find_backbone(segmenter.backbone).published, model, tensors)
    if found is None:
        return tensors, []
    form, tensors = found
    try:
        return by_our_paths(form, model, tensors), [form.notice]
    except InputError as error:
        raise InputError(f"{source}, for {segmenter.backbone}: {error}: use weights of its backbone") from error


def _download(backbone: str) -> dict[str, np.ndarray]:
    download = find_backbone(backbone).imagenet_weights
    if download is None:
        raise InputError(
            f"'imagenet' weights of {backbone} cannot be downloaded in this layout: name torchvision's .pth file"
        )
    try:
        return download()
    except Exception as error:  # Keras raises a bare Exception
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"'imagenet' weights of {backbone} were not downloaded ({reason}): name a file") from error


def _read(path: str, variables: dict[str, keras.Variable]) -> dict[str, np.ndarray]:
    if not files.exists(path) or files.is_folder(path):
        raise InputError(f"initial weights {path!r} are not a file: give '', 'imagenet' or a file's path")
    try:
        with files.open_binary(path) as stream, np.load(stream) as file:
            size = sum(entry.file_size for entry in file.zip.infolist())
            limit = sum(_LARGEST_ITEM * math.prod(variable.shape) + _HEADER_BYTES for variable in variables.values())
            if size > limit:  # a few kilobytes may unpack to any number of gigabytes
                raise InputError(f"{path} unpacks to {size} bytes, the model has {limit} at most: use its weights")
            return dict(file)
    except InputError:
        raise
    except Exception as error:  # a damaged file raises errors of any type
        raise InputError(f"{path} cannot be read as an .npz file of arrays: make it again") from error


def _check(tensors: dict[str, np.ndarray], variables: dict[str, keras.Variable], absent: set[str], where: str) -> None:
    """Raises an InputError unless the tensors are all variables, save that whole layers of `absent` may be absent."""
    unknown = sorted(tensors.keys() - variables.keys())
    if unknown:
        raise InputError(f"{where} holds tensors that the model lacks: {_some(unknown)}: use weights of its backbone")
    present = {_layer(name) for name in tensors}
    missing = sorted(
        name for name in variables.keys() - tensors.keys() if name not in absent or _layer(name) in present
    )
    if missing:
        raise InputError(f"{where} lacks tensors of the model: {_some(missing)}: use weights of its backbone")
    for name, tensor in tensors.items():
        if tensor.shape != tuple(variables[name].shape):
            raise InputError(f"{where} has {name} of shape {tensor.shape}: it takes {tuple(variables[name].shape)}")
        if tensor.dtype.kind not in "fiu" or not np.isfinite(tensor).all():
            raise InputError(f"{where} has values in {name} that are not finite numbers: make the file again")


def _layer(name: str) -> str:
    return name.rpartition("/")[0]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
