"""Starts fada_tf/programs/make_pseudo_labels.py."""

from fada_tf.command import start

start("make_pseudo_labels")
