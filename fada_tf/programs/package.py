"""Packs a trained segmenter for others: weights, settings, classes, scores and a model card, in a folder.

fada-tf package runs/gta5_r101/adversarial/best --output=packages/gta5_r101 --license=apache-2.0

The folder has the layout of the Hugging Face Hub: README.md with its metadata on top; putting it there is left to you.
fada_tf.load("packages/gta5_r101") uses it, and so do programs with --checkpoint=packages/gta5_r101; nothing in it is
executed. Its scores are those that fada-tf evaluate has measured of this very checkpoint: run that first.
"""

from absl import flags

from fada_tf import cli
from fada_tf.errors import InputError

_OUTPUT = flags.DEFINE_string("output", None, "The folder that is made, or an empty one.")
_NAME = flags.DEFINE_string("name", "", "Of the model, on its card; empty: the folder's.")
_LICENSE = flags.DEFINE_string(
    "license",
    "",
    "That you give it, as the Hub spells it, such as apache-2.0; empty: the card says that none is known.",
)
_NETWORK = cli.define_network()


def main(argv):
    """Writes the package and lists its files."""
    if len(argv) != 2:
        raise InputError(f"{len(argv) - 1} runs are named: give one run directory, RUN/best or a checkpoint")

    from fada_tf.devices import set_up_devices
    from fada_tf.export import package

    set_up_devices()
    options = {"name": _NAME.value, "license": _LICENSE.value, "network": _NETWORK.value}
    names = package.write_package(argv[1], _OUTPUT.value, **options)
    print(f"written: {_OUTPUT.value}/{', '.join(names)}")


if __name__ == "__main__":
    flags.mark_flag_as_required("output")
    cli.run(main, arguments=True)
