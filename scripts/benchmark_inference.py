"""Starts fada_tf/programs/benchmark_inference.py."""

from fada_tf.command import start

start("benchmark_inference")
