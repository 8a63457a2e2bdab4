"""Starts fada_tf/programs/evaluate.py."""

from fada_tf.command import start

start("evaluate")
