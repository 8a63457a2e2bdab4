"""The packages of the wheel, beside what setup.cfg says: fada_tf's, and two folders of the checkout under its name."""

from setuptools import find_namespace_packages, find_packages, setup

FOLDERS = find_namespace_packages(include=["configs*", "serving", "serving.local"])
setup(packages=[*find_packages(include=["fada_tf*"]), *(f"fada_tf.{name}" for name in FOLDERS)])
