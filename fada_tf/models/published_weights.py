"""Weights of a backbone under the names, and in the layouts, of those who published them for PyTorch.

A backbone says what they call each of its weights, see `Published`; one of ours may be several of theirs, side by side.
"""

from collections.abc import Iterable

import keras
import numpy as np

from fada_tf.errors import InputError
from fada_tf.models.backbones.base import Published
from fada_tf.models.reference_names import STEP_COUNTER, Account
from fada_tf.models.variables import named_variables


def recognized(
    forms: Iterable[Published], model: keras.Model, tensors: dict[str, np.ndarray]
) -> tuple[Published, dict[str, np.ndarray]] | None:
    """Returns the form that most names are of, and the tensors by their names in the backbone alone.

    Args:
      forms: the backbone's.
      model: the backbone.
      tensors: those of a file, perhaps of a larger model.

    Returns:
      None if no name is of any form.
    """
    states = [(form, _without_prefix(form, tensors)) for form in forms]

    def known(pair: tuple[Published, dict[str, np.ndarray]]) -> int:
        form, state = pair
        return sum(name in state for path in named_variables(model) for name in form.names(path))

    best = max(states, key=known, default=None)
    return best if best and known(best) else None


def by_our_paths(form: Published, model: keras.Model, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns published tensors by the paths of our weights, and in their layouts; others as they are.

    Args:
      form: whose names these are.
      model: the backbone.
      state: arrays by name; what nothing here needs is left out.

    Raises:
      InputError: a tensor has another shape.
    """
    variables = named_variables(model)
    names_of = {path: form.names(path) for path in variables}
    for path, names in names_of.items():
        for name, shape in _shapes(variables[path], names):
            if name in state and state[name].shape != shape:
                raise InputError(f"{name} has shape {state[name].shape}, and {shape} is wanted")
    complete = {path: names for path, names in names_of.items() if state.keys() >= set(names)}
    arrays = {path: np.concatenate([_outputs_last(state[n]) for n in names], -1) for path, names in complete.items()}
    taken = {*form.extra, *(name for names in complete.values() for name in names)}
    others = {name: array for name, array in state.items() if name not in taken and not name.endswith(STEP_COUNTER)}
    return arrays | others


def _without_prefix(form: Published, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the tensors of a larger model by their names in the backbone alone."""
    prefix = next((each for each in form.prefixes if any(name.startswith(each) for name in tensors)), "")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


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
    variables, loaded = named_variables(model), set()
    for path, array in by_our_paths(published, model, state).items():
        if path in variables:
            variables[path].assign(array)
            loaded |= {*published.names(path)}
    wanted = {name for path in variables for name in published.names(path)}
    others = sorted(state.keys() - loaded)
    return Account(
        loaded=tuple(sorted(loaded)),
        missing=tuple(sorted(wanted - state.keys())),
        unused=tuple(name for name in others if not name.endswith(STEP_COUNTER)),
    )


def _shapes(variable: keras.Variable, names: tuple[str, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Returns each tensor's name and shape, of those that a weight of ours is made of."""
    *others, outputs = variable.shape
    part = np.broadcast_to(0.0, (*others, outputs // len(names)))  # which takes no memory
    return [(name, _outputs_first(part).shape) for name in names]


def _outputs_first(array: np.ndarray) -> np.ndarray:
    """Turns kernels [rows, columns, in, out] and [in, out] into [out, in, rows, columns] and [out, in]."""
    return array.transpose({4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, range(array.ndim)))


def _outputs_last(array: np.ndarray) -> np.ndarray:
    """Undoes `_outputs_first`."""
    return array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, range(array.ndim)))
