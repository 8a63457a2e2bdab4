"""The notebook in examples/: nothing of a run is kept in it, and it runs from the first cell to the last."""

import ast
import os
import pathlib
import shutil
import subprocess
import sys

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


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5
    for cell in cells:
        assert not cell.outputs and cell.execution_count is None and not cell.metadata
        ast.parse(cell.source)


@pytest.mark.slow
def test_it_runs_and_shows_pictures(tmp_path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name in ("demo", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "examples").mkdir()
    shutil.copy(PATH, tmp_path / "examples")
    path = tmp_path / "examples" / PATH.name
    quick = 'settings = {"training.iterations": 20, "training.evaluation_interval": 10}  #'
    text = nbformat.read(path, as_version=4)
    assert text.cells[1].source.count("settings = {}  #") == 1
    text.cells[1].source = text.cells[1].source.replace("settings = {}  #", quick)
    nbformat.write(text, path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment |= {"JUPYTER_PLATFORM_DIRS": "1", "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", EXECUTE], cwd=tmp_path / "examples", env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    outputs = [
        output
        for cell in nbformat.read(tmp_path / "examples/executed.ipynb", as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) >= 6  # pictures, curves, two masks, three rows
    texts = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert "source: 20 of 20" in texts and texts.count("mean IoU") == 2 and "masks in" in texts
    assert len(list(pathlib.Path(tmp_path, "demo_output/notebook/masks").iterdir())) == len(
        list(pathlib.Path(ROOT, "demo/target_train/images").iterdir())
    )
