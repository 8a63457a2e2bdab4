"""Numbers of the reference implementation, and how to rebuild the weights, images and labels they were made with.

`forward_*.npz` and `steps_*.npz` hold results of the authors' PyTorch modules in float32, in torch's layouts (images
[N, 3, H, W]). Weights are not stored: each is drawn from its name in the reference's state dict and its module's seed.
`state_dict_names.json` lists those names and shapes, for 19 classes.
"""

import json
import pathlib
import zlib

import keras
import numpy as np

from fada_tf.models import published_weights, reference_names
from fada_tf.models.backbones.base import Published

FOLDER = pathlib.Path(__file__).parent
SEED_OFFSETS = {"feature_extractor": 0, "classifier": 1, "model_D": 2}


def load(name: str) -> dict[str, np.ndarray]:
    """Returns the arrays of `name`.npz."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def state_dict_names(file: str = "state_dict_names") -> dict[str, dict[str, dict[str, list[int]]]]:
    """Returns shapes by network, module and name."""
    return json.loads((FOLDER / f"{file}.json").read_text())


def draw(name: str, shape: tuple[int, ...], seed: int, gain: float = 1.0) -> np.ndarray:
    """Returns the float32 tensor `name` of a module with this seed; `gain` is a factor of its kernels."""
    z = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())])).standard_normal(shape)
    if len(shape) == 4:
        z *= np.sqrt(1 / np.prod(shape[1:])) * gain
    elif len(shape) == 3:  # tokens and position embeddings
        z *= 0.5
    elif len(shape) == 2:
        z *= np.sqrt(1 / shape[1])
    elif name.endswith("running_var"):
        z = 0.5 + np.abs(z)
    elif name.endswith(("weight", "lambda1")):
        z = 1 + 0.1 * z
    else:
        z *= 0.1
    return z.astype(np.float32)


def assign(module: str, model: keras.Model, seed: int, gain: float = 1.0) -> None:
    """Gives `model`, which is the reference's `module`, the weights of a golden file with this seed; see `draw`."""
    shapes = {name: value.shape for name, value in reference_names.to_reference(module, model).items()}
    state = {name: draw(name, shape, seed + SEED_OFFSETS[module], gain) for name, shape in shapes.items()}
    reference_names.from_reference(module, model, state)


def assign_published(published: Published, model: keras.Model, seed: int, gain: float = 1.0) -> None:
    """Gives a backbone the weights of a golden file with this seed, by the names of a published form; see `draw`."""
    state = published_weights.to_published(published, model)
    drawn = {name: draw(name, value.shape, seed, gain) for name, value in state.items()}
    published_weights.from_published(published, model, drawn)


def image(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns normalised images [N, 3, H, W]."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)


def labels(seed: int, num_classes: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns labels [N, H, W] with 255 where they are to be ignored."""
    generator = np.random.Generator(np.random.PCG64(seed))
    values = generator.integers(0, num_classes, shape)
    values[generator.random(shape) < 0.1] = 255
    return values


def coarse_image(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns normalised images [N, 3, H, W] with patches of 16 pixels, of which the network can tell classes."""
    generator = np.random.Generator(np.random.PCG64(seed))
    fine = generator.standard_normal(shape)
    return (0.5 * fine + _enlarged(generator.standard_normal(_cells(shape, 16)), 16, shape)).astype(np.float32)


def coarse_labels(seed: int, num_classes: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns labels [N, H, W] with patches of 8 pixels, of which single pixels are 255."""
    generator = np.random.Generator(np.random.PCG64(seed))
    values = _enlarged(generator.integers(0, num_classes, _cells(shape, 8)), 8, shape)
    values[generator.random(shape) < 0.1] = 255
    return values


def _cells(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    return (*shape[:-2], *(-(-pixels // side) for pixels in shape[-2:]))


def _enlarged(cells: np.ndarray, side: int, shape: tuple[int, ...]) -> np.ndarray:
    return cells.repeat(side, axis=-2).repeat(side, axis=-1)[..., : shape[-2], : shape[-1]]


def channels_last(values: np.ndarray) -> np.ndarray:
    """Turns torch's [N, C, H, W] into [N, H, W, C]."""
    return np.moveaxis(values, 1, -1)
