"""PyTorch's .pth files as dictionaries of NumPy arrays. Only this module needs torch."""

import hashlib
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
    """Reads what `torch.save` wrote, in its old or new format, without running code of the file.

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
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give the path of a .pth file") from error
    if _SAFETENSORS.match(content):
        raise InputError(
            f"{path} is a file of safetensors, which is not read here: save it as PyTorch does, "
            "torch.save(safetensors.torch.load_file(FILE), 'weights.pth')"
        )
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


def write(path: str, entries: dict[str, dict[str, np.ndarray]]) -> None:
    """Writes dictionaries of arrays as tensors, in the old format: the authors' code runs on PyTorch 1.2."""
    torch = _torch()
    tensors = {
        key: {name: torch.tensor(array).contiguous() for name, array in state.items()} for key, state in entries.items()
    }
    content = io.BytesIO()
    torch.save(tensors, content, _use_new_zipfile_serialization=False)
    files.make_folder(os.path.dirname(path) or ".")
    files.write_atomically(path, content.getvalue())


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
