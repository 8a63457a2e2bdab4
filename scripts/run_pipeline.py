"""Starts fada_tf/programs/run_pipeline.py."""

from fada_tf.command import start

start("run_pipeline")
