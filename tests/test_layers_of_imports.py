"""Data flows one way: a module imports from its own room or an earlier one."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# In pipeline order; the single modules at the top of the package come first.
ROOMS = (
    "convolutions", "data", "augmentations", "models", "runs", "losses", "optimizers", "methods", "evaluation",
    "export", "training", "reporting", "experiments", "api", "programs",
)  # fmt: skip
PACKAGE = pathlib.Path("fada_tf/__init__.py")  # which alone offers names, of the room api
MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "fada_tf").rglob("*.py"))


def imports(path: pathlib.Path) -> set[str]:
    """Returns the full names of the modules that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> int:
    """Returns the place of a module in the pipeline; 0 for those at the top of the package."""
    part = name.split(".")[1] if name.count(".") else ""
    return ROOMS.index(part) + 1 if part in ROOMS else 0


@pytest.mark.parametrize("module", [path for path in MODULES if path != PACKAGE], ids=str)
def test_imports_run_one_way(module):
    own = room(".".join(module.with_suffix("").parts))
    later = [name for name in imports(ROOT / module) if name.startswith("fada_tf.") and room(name) > own]
    assert not later, f"{module} imports from a later room: {later}"


@pytest.mark.parametrize(
    "module", [path for path in MODULES if path.name == "__init__.py" and path != PACKAGE], ids=str
)
def test_packages_are_empty(module):
    assert not (ROOT / module).read_text().strip()


def test_every_room_is_listed():
    folders = {path.name for path in (ROOT / "fada_tf").iterdir() if (path / "__init__.py").exists()}
    assert folders == set(ROOMS)


def test_serving_stands_alone():
    for path in (ROOT / "serving").rglob("*.py"):
        assert not [name for name in imports(path) if name.partition(".")[0] == "fada_tf"], path
