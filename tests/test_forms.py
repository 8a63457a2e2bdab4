"""The choice of a form, and what it chooses between."""

import pytest
import tensorflow as tf

from fada_tf import forms


@forms.on_cpus(lambda value: "for CPUs")
def form(value):
    return "plain"


def test_forms_are_chosen_by_name_for_a_block(monkeypatch):
    assert forms.for_cpu()  # no GPU here
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    assert not forms.for_cpu()
    with forms.chosen("cpu"):
        assert forms.for_cpu()
        with forms.chosen("automatic"):
            assert not forms.for_cpu()
        with pytest.raises(KeyError), forms.chosen("plain"):
            assert not forms.for_cpu()
            raise KeyError
        assert forms.for_cpu()
    with (
        pytest.raises(ValueError, match="'gpu' are unknown: choose from automatic, cpu, plain"),
        forms.chosen("gpu"),
    ):
        pass


def test_a_plain_function_has_one_for_cpus_in_its_place():
    for name, expected in (("cpu", "for CPUs"), ("plain", "plain")):
        with forms.chosen(name):
            assert form(1) == expected
