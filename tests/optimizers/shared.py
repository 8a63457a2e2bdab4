"""Numbers of torch.optim that lie beside the project, and not in it."""

import pathlib

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[3] / "shared" / "goldens"


def load(name: str) -> dict[str, np.ndarray]:
    """Returns the arrays of `name`.npz; skips where there is none."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"needs {path.name}, which is not part of the project")
    with np.load(path) as file:
        return dict(file)
