"""Starts fada_tf/programs/convert_weights.py."""

from fada_tf.command import start

start("convert_weights")
