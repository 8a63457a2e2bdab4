import hashlib
import json
import os
import shutil
import sys
import zipfile

import numpy as np
import pytest

from fada_tf.errors import InputError
from fada_tf.models import torch_files

FORMATS = pytest.mark.parametrize("new_format", [True, False], ids=["new format", "old format"])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed (extra `convert`)")


@pytest.fixture
def save(torch, tmp_path):
    def save(entries, new_format=True, name="weights.pth"):
        torch.save(entries, tmp_path / name, _use_new_zipfile_serialization=new_format)
        return str(tmp_path / name)

    return save


@FORMATS
def test_tensors_of_any_depth_become_arrays_and_the_rest_stays(torch, save, new_format):
    values = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    tensor = torch.tensor(values)
    entries = {
        "feature_extractor": {"a": tensor, "b": tensor.T, "c": torch.nn.Parameter(tensor)},
        "half": {"float16": tensor.half(), "bfloat16": tensor.bfloat16()},
        "counter": torch.tensor(7),
        "iteration": 40,
        "note": "text",
    }
    read = torch_files.read(save(entries, new_format))
    np.testing.assert_array_equal(read["feature_extractor"]["a"], values)
    np.testing.assert_array_equal(read["feature_extractor"]["b"], values.T)
    np.testing.assert_array_equal(read["feature_extractor"]["c"], values)
    np.testing.assert_array_equal(read["half"]["float16"], values.astype(np.float16).astype(np.float32))
    assert read["half"]["bfloat16"].dtype == np.float32
    assert (read["counter"].dtype, read["counter"].shape, int(read["counter"])) == (np.int64, (), 7)
    assert (read["iteration"], read["note"]) == (40, "text")


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


@FORMATS
def test_a_file_that_would_run_code_is_refused(save, tmp_path, monkeypatch, new_format):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"weights.pth is refused: .* which can run code \(\w+.mkdir\)") as error:
        torch_files.read(save({"conv1.weight": Malicious()}, new_format))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "hacked").exists()


def test_files_that_are_none_of_pytorch_are_named(torch, save, tmp_path):
    contents = {"empty": b"", "text": b"no weights"}
    for new_format in (True, False):
        with open(save({"a": torch.ones(9)}, new_format), "rb") as file:
            contents[f"cut {new_format}"] = file.read()[:-9]
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name} (cannot be read as a file of PyTorch|is refused)"):
            torch_files.read(str(path))
    for path in (tmp_path, tmp_path / "nowhere.pth"):
        with pytest.raises(InputError, match=r"give the path of a \.pth or \.safetensors file"):
            torch_files.read(str(path))
    with pytest.raises(InputError, match="holds a list: give a file of a dictionary of tensors"):
        torch_files.read(save([torch.ones(3)]))


def test_safetensors_are_read_and_written(tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed (extra `convert`)")
    values = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    state = {"a.weight": values, "b": values.T, "c": np.array([1, 2])}
    path = str(tmp_path / "made" / "model.safetensors")
    torch_files.write_safetensors(path, state)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pt"}
    for name, array in torch_files.read(path).items():
        np.testing.assert_array_equal(array, state.pop(name))
    assert not state
    upper_halves = values.view(np.uint32) >> 16
    header = json.dumps({
        "bfloat16": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        "float16": {"dtype": "F16", "shape": [2, 3], "data_offsets": [12, 24]},
    }).encode()  # fmt: skip
    halves = upper_halves.astype("<u2").tobytes() + values.astype("<f2").tobytes()
    content = len(header).to_bytes(8, "little") + header + halves
    (tmp_path / "model.pth").write_bytes(content)  # whatever its name
    read = torch_files.read(str(tmp_path / "model.pth"))
    np.testing.assert_array_equal(read["bfloat16"], (upper_halves << 16).view(np.float32))
    np.testing.assert_array_equal(read["float16"], values.astype(np.float16).astype(np.float32))
    (tmp_path / "model.pth").write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"model\.pth cannot be read as safetensors \(.*\): get it anew"):
        torch_files.read(str(tmp_path / "model.pth"))


def test_the_digits_in_a_published_name_are_checked(torch, save, tmp_path):
    path = save({"a": torch.ones(3)}, name="resnet101-5d3b4d8f.pth")
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    with pytest.raises(InputError, match=rf"begins with 5d3b4d8f, and it is {digest[:8]}\.\.\.: the file is damaged"):
        torch_files.read(path)
    for name in (f"resnet101-{digest[:8]}.pth", "my_resnet101-5d3b4d8f.pth", "resnet101.pth"):
        shutil.copy(path, tmp_path / name)
        assert list(torch_files.read(str(tmp_path / name))) == ["a"]


def test_what_is_written_is_read_in_the_format_of_old_torch(torch, tmp_path):
    path, kernel = str(tmp_path / "made" / "model.pth"), np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    torch_files.write(path, {"classifier": {"kernel": kernel.transpose(3, 2, 0, 1), "count": np.zeros((), np.int64)}})
    assert os.listdir(tmp_path / "made") == ["model.pth"]
    assert not zipfile.is_zipfile(path)
    state = torch.load(path, weights_only=True)["classifier"]
    assert (state["count"].dtype, state["count"].shape) == (torch.int64, ())
    assert state["kernel"].is_contiguous()
    np.testing.assert_array_equal(state["kernel"].numpy(), kernel.transpose(3, 2, 0, 1))


def test_without_torch_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "weights.pth").write_bytes(b"weights")
    with pytest.raises(InputError, match=r"^PyTorch is not installed: pip install -e '\.\[convert\]'$"):
        torch_files.read(str(tmp_path / "weights.pth"))
