"""Starts fada_tf/programs/serve.py."""

from fada_tf.command import start

start("serve")
