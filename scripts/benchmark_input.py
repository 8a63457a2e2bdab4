"""Starts fada_tf/programs/benchmark_input.py."""

from fada_tf.command import start

start("benchmark_input")
