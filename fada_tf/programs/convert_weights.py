"""Converts weights from PyTorch, and back.

A published backbone, to initial weights: torchvision's ResNet, or Caffe's VGG-16 under torchvision's names.
fada-tf convert_weights --input=resnet101-5d3b4d8f.pth --backbone=resnet101 --output=weights/resnet101.npz

DINOv2 and Mix Transformers likewise, of Hugging Face's or their authors' files, DINOv3 of Hugging Face's; and the
backbone of a checkpoint to such a file.
fada-tf convert_weights --input=dinov2-base/model.safetensors --backbone=dinov2_base --output=weights/dinov2_base.npz
fada-tf convert_weights --input=runs/gta5_dinov2b_mic/self_training --output=model.safetensors

A checkpoint of the authors' code, of any stage, to a run directory:
fada-tf convert_weights --input=model_iter040000.pth --backbone=resnet101 --label_space=cityscapes19 \
    --height=512 --width=1024 --output=runs/authors_adversarial

A checkpoint of this library, to a file that the authors' test program loads:
fada-tf convert_weights --input=runs/gta5_r101/adversarial --output=model_iter040000.pth

Needs PyTorch, for .pth files, and safetensors: pip install -e '.[convert]'. Prints which tensors were loaded, missing
and unused, and the licence of published weights.
"""

from absl import flags

from fada_tf import cli

_INPUT = flags.DEFINE_string(
    "input", None, "A .pth or .safetensors file; or a run directory, RUN/best or a checkpoint."
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "An .npz file, for a backbone; a run directory, for a checkpoint from PyTorch; a .pth file, for one of ours, or a "
    ".safetensors file, for its backbone.",
)
_BACKBONE = flags.DEFINE_string("backbone", "", "What the file holds, such as resnet101.")
_LABEL_SPACE = flags.DEFINE_string(
    "label_space", "", "For a run directory: name of a built-in label space, or path of a class file."
)
_HEIGHT = flags.DEFINE_integer("height", 0, "For a run directory: evaluation height in pixels; 0: none.", lower_bound=0)
_WIDTH = flags.DEFINE_integer("width", 0, "For a run directory: evaluation width in pixels; 0: none.", lower_bound=0)


def main(argv):
    """Converts in the direction that the output's name asks for, and prints the account."""
    del argv
    from fada_tf.devices import set_up_devices
    from fada_tf.training import weight_conversion

    set_up_devices()
    path, output = _INPUT.value, _OUTPUT.value
    if output.endswith(".npz"):
        account = weight_conversion.convert_backbone(path, _BACKBONE.value, output)
    elif output.endswith((".pth", ".safetensors")):
        account = weight_conversion.export_checkpoint(path, output)
    else:
        account = weight_conversion.convert_checkpoint(
            path, _BACKBONE.value, _LABEL_SPACE.value, output, height=_HEIGHT.value, width=_WIDTH.value
        )
    print("\n".join(account))
    print(f"written: {output}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["input", "output"])
    cli.run(main)
