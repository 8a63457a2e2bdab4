"""DINOv2's network with two narrow blocks, for what does not depend on its size."""

from fada_tf.models.backbones.dinov2 import dinov2

VARIANTS = {
    "vit_tiny": dinov2(16, 2, 2),
    "vit_tiny_registers": dinov2(16, 2, 2, registers=4),
}
