"""Starts fada_tf/programs/predict.py."""

from fada_tf.command import start

start("predict")
