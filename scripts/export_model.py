"""Starts fada_tf/programs/export_model.py."""

from fada_tf.command import start

start("export_model")
