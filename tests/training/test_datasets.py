"""What a config says of its domains reaches the batches."""

import types

import numpy as np

from fada_tf.config import Config
from fada_tf.data.labels import LabelSpace, label_space
from fada_tf.data.manifest import Manifest
from fada_tf.training import datasets
from fada_tf.validation import validate
from tests import scenes
from tests.small_runs import small_config

ADAPTATION = types.SimpleNamespace(domains=("source", "target"), labelled_domains=("source",))


def batches(config: Config, space: LabelSpace | None = None) -> tuple[dict[str, np.ndarray], ...]:
    """Returns the first batch of each domain."""
    space = space or label_space(config.data.label_space)
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


def test_crops_of_rare_classes_show_them_and_all_others_are_as_without(records):
    config = small_config(records, "fada")
    everything = label_space(config.data.label_space)
    things, others = everything.names[2:], everything.names[:2]
    space = LabelSpace("reversed", (*things, *others), everything.colors[2:] + everything.colors[:2])
    source = config.data.source
    source.color_jitter, source.sampling, source.crop = False, "rare_class", True
    source.height = source.width = 16
    source.full_height, source.full_width = scenes.HEIGHT, scenes.WIDTH
    source.rare_class_temperature, source.rare_class_min_pixels = 1e-3, 40
    config.training.batch_size = 20
    anywhere = batches(config, space)[0]
    source.rare_class_crop_ratio = 0.5
    validate(config)
    found = batches(config, space)[0]
    shown, before = ((batch["label"] < len(things)).sum(axis=(1, 2)) > 20 for batch in (found, anywhere))
    assert shown.mean() > 0.9 > 0.6 > before.mean() > 0
    np.testing.assert_array_equal(found["image"][before], anywhere["image"][before])
