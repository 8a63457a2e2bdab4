"""Starts fada_tf/programs/check_machine.py."""

from fada_tf.command import start

start("check_machine")
