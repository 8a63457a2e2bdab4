"""DINOv2's network with two narrow blocks, for what does not depend on its size."""

from fada_tf.models.backbones.dinov2 import vision_transformer

VARIANTS = {
    "vit_tiny": vision_transformer(16, 2, 2),
    "vit_tiny_registers": vision_transformer(16, 2, 2, registers=4),
}
