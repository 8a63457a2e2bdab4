"""The forward passes of the golden files, done by our models."""

import keras
import numpy as np

from fada_tf.models.discriminator import build_discriminator
from fada_tf.models.layers import resize_align_corners
from fada_tf.models.segmenter import Segmenter
from tests.goldens import recipe

# Backbone and batch norm of each file.
FORWARD = {
    "forward_vgg16_k19_64x96": ("vgg16", "frozen"),
    "forward_resnet50_k16_64x128": ("resnet50", "frozen"),
    "forward_resnet50_k19_64x96_bn": ("resnet50", "synchronized"),
    "forward_resnet101_k19_65x97": ("resnet101", "frozen"),
}


def build_modules(segmenter: Segmenter, seed: int) -> dict[str, keras.Model]:
    """Returns our models by the names of the reference's modules, with the weights of a golden file."""
    models = {
        "feature_extractor": segmenter.feature_extractor,
        "classifier": segmenter.classifier,
        "model_D": build_discriminator(segmenter, segmenter.num_classes),
    }
    for module, model in models.items():
        recipe.assign(module, model, seed)
    return models


def values(modules: dict[str, keras.Model], image: np.ndarray) -> dict[str, np.ndarray]:
    """Returns, of normalised images [N, 3, H, W], what a golden file holds of them, in its layouts."""
    image = recipe.channels_last(image)
    size = image.shape[1:3]
    features = modules["feature_extractor"](image, training=False)
    logits = modules["classifier"](features)
    logits_full = np.asarray(resize_align_corners(logits, size))
    domain_logits = modules["model_D"](features)
    domain_logits_full = np.asarray(resize_align_corners(domain_logits, size))
    return {
        "feature_mean": np.mean(features, axis=(1, 2)),
        "feature_std": np.std(features, axis=(1, 2), ddof=1),
        "feature_slice": np.moveaxis(features[..., :16], -1, 1),
        "logits": np.moveaxis(logits, -1, 1),
        "logits_full_slice": np.moveaxis(logits_full[:, ::4, ::4], -1, 1),
        "logits_full_mean": logits_full.mean(axis=(1, 2)),
        "domain_logits": np.moveaxis(domain_logits, -1, 1),
        "domain_logits_full_mean": domain_logits_full.mean(axis=(1, 2)),
    }


def errors(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns the largest difference of each array, as a share of the first one's largest absolute value."""
    return {key: float(np.max(np.abs(other[key] - value)) / np.max(np.abs(value))) for key, value in one.items()}
