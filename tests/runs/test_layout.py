"""The names of files in a run directory stand in one room."""

import ast
import pathlib

from fada_tf.runs import layout, results

ROOT = pathlib.Path(__file__).parents[2]
OUTSIDE = [path for path in sorted((ROOT / "fada_tf").rglob("*.py")) if path.parent.name != "runs"]
NAMES = {value for module in (layout, results) for value in vars(module).values() if isinstance(value, str)}


def joined(path: pathlib.Path) -> set[str]:
    """Returns the texts that a module joins to paths."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    arguments = (node for call in calls if ast.unparse(call.func) == "os.path.join" for node in call.args)
    return {node.value for node in arguments if isinstance(node, ast.Constant)}


def test_no_other_module_names_a_file_of_a_run():
    found = {str(path): joined(path) & NAMES for path in OUTSIDE}
    assert not {path: names for path, names in found.items() if names}
