"""Starts fada_tf/programs/package.py."""

from fada_tf.command import start

start("package")
