"""Starts fada_tf/programs/benchmark_torch_loader.py."""

from fada_tf.command import start

start("benchmark_torch_loader")
