"""Starts fada_tf/programs/make_tfrecords.py."""

from fada_tf.command import start

start("make_tfrecords")
