"""What a data set decides of a training: margins, and what is masked."""

import json
import pathlib
from dataclasses import replace

import pytest

from fada_tf import config_fields, peers
from fada_tf.config import Config, method_settings
from fada_tf.data import relabelling
from fada_tf.data.datasets import base
from fada_tf.data.manifest import Manifest, digest
from fada_tf.errors import InputError
from fada_tf.facts import ADVERSE, CITYSCAPES_MARGINS, Facts
from fada_tf.training import datasets
from tests.data import makers
from tests.data.test_conditions import FOUND, labels_of

CITYSCAPES = Facts(CITYSCAPES_MARGINS)
KNOWN = {"cityscapes": CITYSCAPES, "foggy_cityscapes": replace(CITYSCAPES, adverse=True)}
KNOWN |= dict.fromkeys(["acdc", "dark_zurich", "muses", "nighttime_driving"], ADVERSE)
KNOWN |= dict.fromkeys(["bdd100k", "crosscity", "idd", "mapillary"], Facts())


@pytest.mark.parametrize("name", FOUND)
def test_data_sets_tell_their_facts(name, tmp_path):
    options, image, conditions = FOUND[name]
    makers.save(f"{tmp_path}/{image}", makers.texture(2, 20))
    facts = base.find(name.strip(), root=str(tmp_path), **options).facts
    assert facts == (Facts() if conditions.get("weather") == "clear" else KNOWN[name.strip()])


def test_margins_are_those_of_the_stored_size():
    assert CITYSCAPES.margins_in_pixels(1024, 2048) == (30, 240, 0, 0)
    assert CITYSCAPES.margins_in_pixels(512, 1024) == (15, 120, 0, 0)
    assert Facts((0, 0, 0.1, 0.25)).margins_in_pixels(50, 100) == (0, 0, 10, 25)


def with_facts(manifest: Manifest, facts: Facts | None) -> str:
    """Writes the manifest with these facts; returns its folder."""
    replace(manifest, facts=facts).save()
    assert Manifest.load(manifest.folder).facts == facts
    return manifest.folder


def test_manifests_keep_them_and_are_the_same_for_runs(tmp_path):
    manifest = makers.records(tmp_path)
    assert manifest.facts is None  # of a folder of anybody nothing is known
    digests = {
        (digest(folder), digest(folder, with_classes=True))
        for folder in (with_facts(manifest, facts) for facts in (None, Facts(), CITYSCAPES, ADVERSE))
    }
    assert len(digests) == 1
    new = relabelling.relabel(manifest.folder, f"{tmp_path}/new", makers.THREE_CLASSES, labels_of, labeller_id="x")
    assert new.facts == ADVERSE


@pytest.mark.parametrize("facts", [{}, {"margins": [0, 0, 0]}, {"margins": [1, 0, 0, 0], "adverse": False}, 3])
def test_damaged_facts_are_a_damaged_manifest(tmp_path, facts):
    path = pathlib.Path(makers.records(tmp_path).folder, "manifest.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"facts": facts}))
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        Manifest.load(f"{tmp_path}/records")


def trained_on(folder: str, **fields) -> Config:
    config = Config(method=method_settings("mic"))
    config.data.target.records = folder
    for name, value in {"margin_top": 3, "margin_left": 1, "records_decide": True, **fields}.items():
        setattr(config.data.target, name, value)
    return config


def decided(config: Config) -> tuple:
    target = datasets.decided(config).data.target
    margins = target.margin_top, target.margin_bottom, target.margin_left, target.margin_right
    return margins, datasets.decided(config).method.mode


def test_the_targets_records_decide_margins_and_masks(tmp_path):
    manifest = makers.records(tmp_path, count=1, num_shards=1)  # one image, 12 x 16
    as_set = ((3, 0, 1, 0), "target")
    assert decided(trained_on(with_facts(manifest, None))) == as_set  # an older manifest tells nothing
    assert decided(trained_on(with_facts(manifest, Facts()))) == ((0, 0, 0, 0), "target")
    assert decided(trained_on(with_facts(manifest, ADVERSE))) == ((0, 0, 0, 0), "separate")
    facts = Facts((0.25, 0.5, 0, 0.125), adverse=True)
    config = trained_on(with_facts(manifest, facts))
    assert decided(config) == ((3, 6, 0, 2), "separate")
    assert config.data.target.margin_bottom == 0 and config.method.mode == "target"  # a copy was changed
    assert decided(trained_on(manifest.folder, records_decide=False)) == as_set
    assert decided(replace_method(config, "dacs"))[0] == (3, 6, 0, 2)


def replace_method(config: Config, name: str) -> Config:
    config_fields.set_fields(config, {"method.name": name})
    config.method.mode = "none"
    return config


def test_margins_need_one_size(tmp_path):
    folder = with_facts(makers.records(tmp_path), CITYSCAPES)
    with pytest.raises(InputError, match="images of 5 sizes"):
        datasets.decided(trained_on(folder))


def test_runs_of_the_peers_that_were_begun_before_go_on():
    """What the records decide is compared with them, and that they may decide is not."""
    config = peers.mic_config("any", imagenet="", source_records="source", source_size=(720, 1280))
    assert config.data.target.records_decide
    earlier = peers.mic_config("any", imagenet="", source_records="source", source_size=(720, 1280))
    earlier.data.target.records_decide = False
    assert config_fields.differences(earlier, config, but=config_fields.FREE_FIELDS) == []
    assert config.data.target.margin_bottom == CITYSCAPES.margins_in_pixels(1024, 2048)[1]
