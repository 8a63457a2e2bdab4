"""The command `fada-tf`: what it lists, and that it starts the program that is named."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

from fada_tf import command
from tests.processes import ROOT

PROGRAMS = {path.stem for path in (ROOT / "fada_tf/programs").glob("[a-z]*.py")}


@pytest.fixture
def ends(monkeypatch, capsys):
    """Runs the command with arguments; returns its status, output and errors."""

    def ends(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fada-tf", *arguments])
        with pytest.raises(SystemExit) as end:
            command.main()
        return end.value.code, *capsys.readouterr()

    return ends


def test_help_has_a_line_for_every_program_in_the_order_of_work(ends):
    code, output, _ = ends("--help")
    lines = {line.split()[0]: line for line in output.splitlines()[2:]}
    assert code == 0 and lines.keys() == PROGRAMS | {"doctor"}
    names = list(lines)
    assert names.index("make_tfrecords") < names.index("train") < names.index("evaluate") < names.index("export_model")
    assert lines["train"].endswith(" Trains one stage of an experiment.")
    assert ends() == (2, output, "")


@pytest.mark.parametrize(("wrong", "right"), [("evalute", "evaluate"), ("mt", "make_tfrecords"), ("docter", "doctor")])
def test_a_wrong_name_gets_the_nearest(ends, wrong, right):
    assert ends(wrong) == (2, "", f"error: {wrong!r} is no program: nearest is {right}; fada-tf --help lists all\n")


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_script_is_one_line(program):
    text = (ROOT / "scripts" / f"{program}.py").read_text()
    assert text == (
        f'"""Starts fada_tf/programs/{program}.py."""\n\nfrom fada_tf.command import start\n\nstart("{program}")\n'
    )


def test_a_program_is_the_main_module_under_its_own_name(tmp_path):
    result = subprocess.run(
        command.line("doctor", "--help"), cwd=tmp_path, env=command.environment(), capture_output=True, text=True
    )
    assert "\nfada-tf doctor:\n" in result.stdout and "--precision" in result.stdout


@pytest.mark.skipif(sys.version_info < (3, 11), reason="python -m imports from the working folder before Python 3.11")
def test_a_program_imports_nothing_from_the_working_folder(tmp_path):
    for name in ("absl", "fada_tf"):
        pathlib.Path(tmp_path, f"{name}.py").write_text("raise SystemExit('of the working folder')")
    result = subprocess.run(
        command.line("train", "--help"), cwd=tmp_path, env=command.environment(), capture_output=True, text=True
    )
    assert "--run_dir" in result.stdout, result.stderr


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_help_has_an_example_with_options_that_there_are(program):
    module = "serving/local_server.py" if program == "serve" else f"fada_tf/programs/{program}.py"
    source = (ROOT / module).read_text() + (ROOT / "fada_tf/cli.py").read_text()
    defined = set(re.findall(r"(?:flags\.DEFINE_\w+|add_argument)\(\s*\"(?:--)?(\w+)\"", source))
    text = ast.get_docstring(ast.parse((ROOT / module).read_text())) or ""
    examples = re.findall(rf"^ *fada-tf {program} (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    options = {option for example in examples for option in re.findall(r"--(\w+)", example)}
    assert examples and options <= defined, f"{sorted(options - defined)} of {examples}"
