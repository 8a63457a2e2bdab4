"""DINOv3's network with two narrow blocks, for what does not depend on its size."""

from fada_tf.models.backbones.dinov3 import dinov3

VARIANTS = {"rotary_tiny": dinov3(16, 2, 2)}
