"""PyTorch's .pth files, and files of safetensors, as dictionaries of NumPy arrays. Only this module needs torch."""

import hashlib
import importlib
import io
import os
import pickle
import re
from types import ModuleType
from typing import Any

import numpy as np

from fada_tf.data import files
from fada_tf.errors import InputError

# The digits in the names of published files begin the file's SHA-256:
# https://github.com/pytorch/vision/blob/054e54c5/torchvision/models/resnet.py#L9-L15
# https://github.com/jcjohnson/pytorch-vgg/blob/121d07b3/README.md?plain=1#L8
_PUBLISHED = re.compile(r"(?:resnet50|resnet101|vgg16)-([0-9a-f]{8})\.pth")

_SAFETENSORS = re.compile(rb".{8}\{\s*\"", re.DOTALL)  # the length of the JSON that follows


def read(path: str) -> dict[str, Any]:
    """Reads what `torch.save` wrote, in its old or new format, without running code of the file; or safetensors.

    Args:
      path: the file. A published file's name must hold the first digits of its SHA-256.

    Returns:
      The dictionary that was saved, with arrays for tensors at any depth, those of real numbers as float32.

    Raises:
      InputError: no file, a damaged one, or one that holds other objects than tensors, numbers and texts.
    """
    try:
        content = files.read_bytes(path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be read ({reason}): give the path of a .pth or .safetensors file") from error
    if _SAFETENSORS.match(content):
        return _read_safetensors(path, content)
    _check_name(path, content)
    torch = _torch()
    try:
        entries = _arrays(torch, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL (\S+)", str(error))
        raise InputError(
            f"{path} is refused: it is damaged, or holds more than tensors, numbers and texts, which can run code"
            f"{f' ({culprit[1]})' if culprit else ''}: get it anew, from who made it"
        ) from error
    except Exception as error:  # a damaged file raises errors of any type
        raise InputError(f"{path} cannot be read as a file of PyTorch ({type(error).__name__}): get it anew") from error
    if not isinstance(entries, dict):
        raise InputError(f"{path} holds a {type(entries).__name__}: give a file of a dictionary of tensors")
    return entries


def write(path: str, entries: dict[str, Any]) -> None:
    """Writes arrays of any depth as tensors, in the old format: the authors' code runs on PyTorch 1.2."""
    torch = _torch()

    def tensors_of(value):
        if isinstance(value, dict):
            return {key: tensors_of(content) for key, content in value.items()}
        return torch.tensor(value).contiguous()

    tensors = tensors_of(entries)
    content = io.BytesIO()
    torch.save(tensors, content, _use_new_zipfile_serialization=False)
    files.make_folder(os.path.dirname(path) or ".")
    files.write_atomically(path, content.getvalue())


def write_safetensors(path: str, state: dict[str, np.ndarray]) -> None:
    """Writes arrays as a file of safetensors, marked as of PyTorch's layouts, which other programs ask for."""
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    content = _safetensors("safetensors.numpy").save(arrays, metadata={"format": "pt"})
    files.make_folder(os.path.dirname(path) or ".")
    files.write_atomically(path, content)


def _read_safetensors(path: str, content: bytes) -> dict[str, np.ndarray]:
    try:
        tensors = _safetensors("safetensors").deserialize(content)
        return {name: _array_of(tensor) for name, tensor in tensors}
    except InputError:
        raise
    except Exception as error:  # a damaged file raises errors of any type
        raise InputError(f"{path} cannot be read as safetensors ({error}): get it anew") from error


def _array_of(tensor: dict[str, Any]) -> np.ndarray:
    """Returns a tensor of safetensors, real numbers as float32; NumPy has no bfloat16, the upper half of a float32."""
    kind, data = tensor["dtype"], tensor["data"]
    if kind == "BF16":
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        array = np.frombuffer(data, f"<{kind[0].lower()}{int(kind[1:]) // 8}")
    return (array.astype(np.float32) if array.dtype.kind == "f" else array).reshape(tensor["shape"])


def _safetensors(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError("safetensors is not installed: pip install -e '.[convert]'") from error


def _torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise InputError("PyTorch is not installed: pip install -e '.[convert]'") from error
    return torch


def _check_name(path: str, content: bytes) -> None:
    published, digest = _PUBLISHED.fullmatch(os.path.basename(path)), hashlib.sha256(content).hexdigest()
    if published and not digest.startswith(published[1]):
        raise InputError(
            f"{path} should have a SHA-256 that begins with {published[1]}, and it is {digest[:8]}...: "
            "the file is damaged or another one, download it again"
        )


def _arrays(torch: ModuleType, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _arrays(torch, content) for key, content in value.items()}
    if not isinstance(value, torch.Tensor):
        return value
    return (value.float() if value.is_floating_point() else value).detach().numpy()
