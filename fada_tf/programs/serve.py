"""Serves exported models on this machine, as TensorFlow Serving does: for development, demonstrations and tests.

It is the program of serving/local_server.py, which lies in the package where that is installed.
"""

import importlib.util

from fada_tf import command

if __name__ == "__main__":
    installed = importlib.util.find_spec("fada_tf.serving")
    command.run_as_main("fada_tf.serving.local_server" if installed else "serving.local_server")
