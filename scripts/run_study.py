"""Starts fada_tf/programs/run_study.py."""

from fada_tf.command import start

start("run_study")
