"""The names and layouts of the reference's PyTorch checkpoints, in NumPy alone.

A reference checkpoint holds a state dict for each of `feature_extractor`, `classifier` and `model_D`. Its ResNet layers
are named as ours, with dots for underscores; its VGG-16 is a sequence, so its names are positions:
https://github.com/JDAI-CV/FADA/blob/a1c6403/core/models/feature_extractor.py#L16-L24.
"""

import dataclasses

import keras
import numpy as np

from fada_tf.errors import InputError
from fada_tf.models.backbones.base import TORCH_VARIABLES
from fada_tf.models.layers import BatchNorm
from fada_tf.models.variables import named_variables

_VGG16_POSITIONS = {
    "block1": (0, 2),
    "block2": (5, 7),
    "block3": (10, 12, 14),
    "block4": (17, 19, 21),
    "block5": (23, 25, 27),
}
_LAYERS = {
    "feature_extractor": {
        f"{block}_conv{index}": f"backbone.{position}"
        for block, positions in _VGG16_POSITIONS.items()
        for index, position in enumerate(positions, start=1)
    }
    | {"fc6": "backbone.29", "fc7": "backbone.31"},
    "classifier": {f"aspp_{dilation}": f"conv2d_list.{index}" for index, dilation in enumerate((6, 12, 18, 24))},
    "model_D": {"conv1": "D.0", "conv2": "D.2", "source_head": "cls1", "target_head": "cls2"},
}
STEP_COUNTER = "num_batches_tracked"  # torch keeps it beside each batch norm, and nothing here depends on it
_TO_TORCH, _FROM_TORCH = (3, 2, 0, 1), (2, 3, 1, 0)  # axes of [rows, columns, in, out] and [out, in, rows, columns]


@dataclasses.dataclass(frozen=True)
class Account:
    """What `from_reference` did, as the reference's names.

    Attributes:
      loaded: tensors that were assigned.
      missing: tensors that the model has and the state lacks.
      unused: tensors that the state has and the model lacks.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def to_reference(module: str, model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the weights of `model` as the reference's state dict.

    Args:
      module: "feature_extractor", "classifier" or "model_D".
      model: that part of our model.
    """
    state = {}
    for path, variable in named_variables(model).items():
        value = np.asarray(variable)
        state[_name(module, path)] = value.transpose(_TO_TORCH) if value.ndim == 4 else value
    norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    return state | {f"{_layer_name(module, norm.name)}.{STEP_COUNTER}": np.zeros((), np.int64) for norm in norms}


def from_reference(module: str, model: keras.Model, state: dict[str, np.ndarray]) -> Account:
    """Assigns the reference's state dict to the weights of `model`, as far as it goes.

    Args:
      module: "feature_extractor", "classifier" or "model_D".
      model: that part of our model.
      state: arrays by name; names may start with "module."; torchvision's lack the "backbone.".

    Returns:
      What was assigned and what was not.

    Raises:
      InputError: a tensor has another shape; nothing was assigned then.
    """
    state = {_full_name(module, name): np.asarray(array) for name, array in state.items()}
    variables = {_name(module, path): variable for path, variable in named_variables(model).items()}
    arrays = {}
    for name in variables.keys() & state.keys():
        array, shape = state[name], tuple(variables[name].shape)
        arrays[name] = array.transpose(_FROM_TORCH) if array.ndim == 4 else array
        if arrays[name].shape != shape:
            raise InputError(f"{module}: {name} has shape {array.shape}, and {_torch_shape(shape)} is wanted")
    for name, array in arrays.items():
        variables[name].assign(array)
    return Account(
        loaded=tuple(sorted(arrays)),
        missing=tuple(sorted(variables.keys() - arrays.keys())),
        unused=tuple(sorted(name for name in state.keys() - arrays.keys() if not name.endswith(STEP_COUNTER))),
    )


def _name(module: str, path: str) -> str:
    layer, _, variable = path.rpartition("/")
    return f"{_layer_name(module, layer)}.{TORCH_VARIABLES[variable]}"


def _layer_name(module: str, layer: str) -> str:
    return _LAYERS[module].get(layer) or f"backbone.{layer.replace('_', '.')}"


def _full_name(module: str, name: str) -> str:
    name = name.removeprefix("module.")
    return name if module != "feature_extractor" or name.startswith("backbone.") else f"backbone.{name}"


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _TO_TORCH) if len(shape) == 4 else shape
