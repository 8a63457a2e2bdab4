"""The notebook in examples/: nothing of a run is kept in it, and it runs from the first cell to the last."""

import ast
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping

import nbformat
import pytest

from tests.processes import ROOT

PATH = ROOT / "examples/adapt_your_photos.ipynb"
# A process of its own: what Jupyter's packages warn of is not for the tests to mend.
EXECUTE = """
import sys
import nbclient, nbformat
notebook = nbformat.read("adapt_your_photos.ipynb", as_version=4)
nbclient.NotebookClient(notebook, timeout=1800).execute()
nbformat.write(notebook, "executed.ipynb")
"""

# The first two stages of the demo with a network that is traced in seconds.
SMALL = """
import runpy

demo = runpy.run_path("../configs/demo.py")
STAGES = demo["STAGES"][:2]

def get_config(stage="source"):
    config = demo["get_config"](stage)
    config.model.backbone, config.model.head, config.training.batch_size = "tiny", "aspp", 2
    if stage == "source":
        config.model.initial_weights = ""
    return config
"""


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5
    for cell in cells:
        assert not cell.outputs and cell.execution_count is None and not cell.metadata
        ast.parse(cell.source)


@pytest.mark.slow  # two minutes of a core; what its cells call is tested quickly in tests/api
def test_it_runs_and_shows_pictures(tmp_path):
    for folder in ("source/images", "source/labels", "target_train/images", "target_val/images", "target_val/labels"):
        (tmp_path / "demo" / folder).mkdir(parents=True)
        for path in sorted((ROOT / "demo" / folder).iterdir())[:4]:
            (tmp_path / "demo" / folder / path.name).symlink_to(path)
    settings = {"training.iterations": 20, "training.steps_per_loop": 10, "training.evaluation_interval": 20}
    (tmp_path / "small.py").write_text(SMALL)
    texts = run(tmp_path, {"settings = {}": f"settings = {settings}", 'config = "demo"': 'config = "../small.py"'})
    assert "source: 20 of 20" in texts
    assert len(list(pathlib.Path(tmp_path, "demo_output/notebook/masks").iterdir())) == 4


@pytest.mark.slow
def test_the_whole_of_it_gains(tmp_path):
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    before, after = map(float, re.findall(r"mean IoU +([\d.]+)", run(tmp_path, {})))
    assert after > before + 3


def run(folder: pathlib.Path, changes: Mapping[str, str]) -> str:
    """Runs the notebook, with other texts in its first cell, beside demo/ in a folder; returns what it printed."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "examples").mkdir()
    notebook = nbformat.read(PATH, as_version=4)
    for text, other in changes.items():
        assert notebook.cells[1].source.count(text) == 1
        notebook.cells[1].source = notebook.cells[1].source.replace(text, other)
    nbformat.write(notebook, folder / "examples" / PATH.name)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment |= {"JUPYTER_PLATFORM_DIRS": "1", "HOME": str(folder)}
    result = subprocess.run(
        [sys.executable, "-c", EXECUTE], cwd=folder / "examples", env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    cells = nbformat.read(folder / "examples/executed.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) >= 6  # pictures, curves, two masks, three rows
    texts = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert texts.count("mean IoU") == 2 and "masks in" in texts
    return texts


def test_bad_input_is_one_line_in_a_notebook():
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell(colors="nocolor")
for name in ("gone", 5):
    print(shell.run_cell(f"import fada_tf; fada_tf.adapt({name!r}, 'photos')").success)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    message, first, *traceback, second = run.stdout.splitlines()
    assert message.startswith("InputError: source: gone is no folder: give one") and first == second == "False"
    assert any("Traceback" in line for line in traceback)  # of a mistake in the program itself
