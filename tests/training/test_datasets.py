"""What a config says of its domains reaches the batches."""

import types

import numpy as np

from fada_tf.config import Config
from fada_tf.data.labels import label_space
from fada_tf.data.manifest import Manifest
from fada_tf.training import datasets
from tests.small_runs import small_config

ADAPTATION = types.SimpleNamespace(domains=("source", "target"), labelled_domains=("source",))


def batches(config: Config) -> tuple[dict[str, np.ndarray], ...]:
    """Returns the first batch of each domain."""
    space = label_space(config.data.label_space)
    return next(iter(datasets.train_dataset(config, ADAPTATION, space, 0).as_numpy_iterator()))


def test_margins_of_a_config_are_where_it_says(records):
    config = small_config(records, "fada")
    entry = Manifest.load(config.data.target.records).entries[0]
    for domain in (config.data.source, config.data.target):
        domain.height, domain.width, domain.flip = entry.height, entry.width, False
        domain.margin_top, domain.margin_bottom, domain.margin_left, domain.margin_right = 1, 2, 3, 4
    inside = np.zeros((2, entry.height, entry.width), np.uint8)
    inside[:, 1:-2, 3:-4] = 1
    source, target = batches(config)
    np.testing.assert_array_equal(target["valid"], inside)
    assert (source["label"][inside == 0] == 255).all() and (source["label"][inside == 1] != 255).any()
