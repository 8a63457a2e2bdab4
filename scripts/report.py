"""Starts fada_tf/programs/report.py."""

from fada_tf.command import start

start("report")
