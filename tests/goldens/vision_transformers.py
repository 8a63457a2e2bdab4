"""Plain vision transformers with the weights of golden files, and what such a file holds of them."""

import dataclasses
import functools

import keras
import numpy as np

from fada_tf.models.backbones.base import Backbone
from tests.goldens import recipe

TOLERANCE = 1e-4  # of an array's largest value


@dataclasses.dataclass
class Golden:
    """A golden file, and our network with its weights."""

    arrays: dict[str, np.ndarray]
    backbone: keras.Model

    @functools.cached_property
    def layers(self) -> keras.Model:
        names = [f"block{count - 1}" for count in self.arrays["arg_layers"]]
        outputs = [self.backbone.get_layer(name).output for name in (*names, "norm", "patch_map")]
        return keras.Model(self.backbone.input, outputs)

    @property
    def grid(self) -> tuple[int, int]:
        patch = self.backbone.get_layer("patch_map").patch
        return int(self.arrays["arg_h"]) // patch, int(self.arrays["arg_w"]) // patch

    def values(self) -> dict[str, np.ndarray]:
        """Returns, in the file's layouts, what it holds of our network."""
        height, width = int(self.arrays["arg_h"]), int(self.arrays["arg_w"])
        image = recipe.channels_last(recipe.image(int(self.arrays["arg_seed"]) + 10, (1, 3, height, width)))
        *inner, tokens, patch_map = map(np.asarray, self.layers(image))
        first = 1 + int(self.arrays["arg_registers"])
        values = _statistics("tokens", patch_map, 64) | {"class_token": tokens[:, 0]}
        for count, each in zip(self.arrays["arg_layers"], inner, strict=True):
            values |= _statistics(f"layer{count}", each[:, first:].reshape(1, *self.grid, -1), 32)
        return values | ({"register_tokens_slice": tokens[:, 1:first, :64]} if first > 1 else {})

    def positions(self) -> np.ndarray:
        positions = self.backbone.get_layer("embeddings").positions(*self.grid)
        return np.moveaxis(np.asarray(positions)[None, ..., :32], -1, 1)

    def error(self, values: dict[str, np.ndarray]) -> float:
        shares = (
            np.abs(self.arrays[key] - value).max() / np.abs(self.arrays[key]).max() for key, value in values.items()
        )
        return float(max(shares))


def golden_of(file: str, definition: Backbone) -> Golden:
    """Returns a file and the network with its weights, by the names of the first published form."""
    arrays = recipe.load(file)
    backbone = definition.build("backbone", "frozen", np.random.default_rng(0))
    recipe.assign_published(definition.published[0], backbone, int(arrays["arg_seed"]))
    return Golden(arrays, backbone)


def _statistics(name: str, tokens: np.ndarray, channels: int) -> dict[str, np.ndarray]:
    return {
        f"{name}_mean": tokens.mean((1, 2)),
        f"{name}_std": tokens.std((1, 2), ddof=1),
        f"{name}_slice": np.moveaxis(tokens[..., :channels], -1, 1),
    }
