"""Weights of a backbone under the names, and in the layouts, of those who published them for PyTorch.

A backbone says what they call each of its weights, see `Published`; one of ours may be several of theirs, side by side.
"""

import keras
import numpy as np

from fada_tf.errors import InputError
from fada_tf.models.backbones.base import Published
from fada_tf.models.reference_names import Account
from fada_tf.models.weights import named_variables


def to_published(published: Published, model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the weights of a backbone as a state dict.

    Args:
      published: one of the backbone's.
      model: the backbone.
    """
    state = {}
    for path, variable in named_variables(model).items():
        names = published.names(path)
        for name, part in zip(names, np.split(np.asarray(variable), len(names), axis=-1), strict=True):
            state[name] = _outputs_first(part)
    return state


def from_published(published: Published, model: keras.Model, state: dict[str, np.ndarray]) -> Account:
    """Assigns a state dict to the weights of a backbone, as far as it goes.

    Args:
      published: the one of the backbone's whose names these are.
      model: the backbone.
      state: arrays by name.

    Returns:
      What was assigned and what was not.

    Raises:
      InputError: a tensor has another shape; nothing was assigned then.
    """
    variables, arrays = named_variables(model), {}
    names_of = {path: published.names(path) for path in variables}
    wanted = {name: shape for path, names in names_of.items() for name, shape in _shapes(variables[path], names)}
    for name in wanted.keys() & state.keys():
        if state[name].shape != wanted[name]:
            raise InputError(f"{name} has shape {state[name].shape}, and {wanted[name]} is wanted")
    for path, names in names_of.items():
        if state.keys() >= set(names):
            arrays[path] = np.concatenate([_outputs_last(state[name]) for name in names], axis=-1)
    for path, array in arrays.items():
        variables[path].assign(array)
    loaded = {name for path in arrays for name in names_of[path]}
    return Account(
        loaded=tuple(sorted(loaded)),
        missing=tuple(sorted(wanted.keys() - state.keys())),
        unused=tuple(sorted(state.keys() - loaded)),
    )


def _shapes(variable: keras.Variable, names: tuple[str, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Returns each tensor's name and shape, of those that a weight of ours is made of."""
    *others, outputs = variable.shape
    return [(name, _outputs_first(np.empty((*others, outputs // len(names)))).shape) for name in names]


def _outputs_first(array: np.ndarray) -> np.ndarray:
    """Turns kernels [rows, columns, in, out] and [in, out] into [out, in, rows, columns] and [out, in]."""
    return array.transpose({4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, range(array.ndim)))


def _outputs_last(array: np.ndarray) -> np.ndarray:
    """Undoes `_outputs_first`."""
    return array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, range(array.ndim)))
