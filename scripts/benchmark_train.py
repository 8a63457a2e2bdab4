"""Starts fada_tf/programs/benchmark_train.py."""

from fada_tf.command import start

start("benchmark_train")
