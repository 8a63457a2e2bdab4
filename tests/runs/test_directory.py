"""Whose a run directory is."""

import pytest

from fada_tf import config_fields
from fada_tf.config import Config
from fada_tf.errors import InputError
from fada_tf.runs import checkpoint
from fada_tf.runs.directory import check_run_directory
from fada_tf.validation import validate


def test_an_old_run_may_have_settings_of_a_domain_without_records(tmp_path):
    config = Config()
    source, target = config.data.source, config.data.target
    source.records, source.height, source.width, target.height = "records/source", 24, 32, 24
    target.flip, target.sampling = True, "rare_class"
    (tmp_path / "config.json").write_text(config_fields.to_json(config))
    with pytest.raises(InputError, match=r"config\.data\.target\.flip is True, and"):
        validate(config)
    target.flip, target.sampling = False, "shuffled"  # what the message asks for
    assert check_run_directory(str(tmp_path), config) == []
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/ckpt-1.index").touch()
    of_run = checkpoint.run_config(str(tmp_path / "checkpoints/ckpt-1"))
    validate(of_run)
    assert of_run == config
    source.flip = True
    with pytest.raises(InputError, match=r"holds another run \(data\.source\.flip: False, True\)"):
        check_run_directory(str(tmp_path), config)
