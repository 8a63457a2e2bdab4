"""Starts fada_tf/programs/train.py."""

from fada_tf.command import start

start("train")
