"""Mix Transformers of few channels and blocks, for what does not depend on their size."""

from fada_tf.models.backbones.mit import mix_transformer

VARIANTS = {
    "mix_tiny": mix_transformer((8, 16, 40, 64), 1, 1, 1, 1),
    "mix_deeper": mix_transformer((8, 16, 40, 64), 1, 1, 2, 1),
}
