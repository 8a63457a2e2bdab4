"""Starts fada_tf/programs/analyze_features.py."""

from fada_tf.command import start

start("analyze_features")
