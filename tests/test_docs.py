"""README.md and docs: what they name exists, and the commands on them can be given."""

import configparser
import dataclasses
import functools
import importlib.util
import pathlib
import re
import shlex
from types import SimpleNamespace

import pytest
import yaml
from PIL import Image

from fada_tf import experiment_file, registry, shipped
from fada_tf.config import Config, method_settings
from fada_tf.config_fields import flatten
from fada_tf.data.labels import ClassFile
from fada_tf.experiments import study_tables
from fada_tf.experiments.study_tables import Result
from fada_tf.validation import validate
from tests.processes import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "DEPENDENCIES.md", ROOT / "serving" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
PROGRAM = re.compile(
    r"(?:python scripts/|\bfada-tf |^docker run .* fada_tf(?::\w+)? )(\w+)(?:\.py)?(?= |$)((?:'[^']*'|[^'|])*)"
)
# Options of programs that are not the library's, in sentences.
FOREIGN = {"build-arg", "logdir", "no-deps", "profile", "requeue", "runner", "slow", "strict"}
SOURCES = (*(ROOT / "fada_tf").rglob("*.py"), *(ROOT / "serving").rglob("*.py"))


def script(name: str):
    """Returns the module of a script in docs."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOKS, TABLES = script("hooks"), script("tables")
OPTIONS = {program: {*HOOKS.options(program), "help", "set"} for program in HOOKS.programs()}


def commands(text: str) -> list[str]:
    """Returns the lines of a page's shell blocks, each without its comment."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"(^| +)#.*", "", line) for line in lines]


@functools.cache
def settings() -> set[str]:
    """Returns the full names of all settings, whatever the method."""
    names = set(flatten(Config()))
    for method in registry.names("fada_tf.methods"):
        config = Config()
        config.method = method_settings(method)
        names |= set(flatten(config))
    return names


def test_the_readme_is_one_page():
    assert len(TEXTS["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", TEXTS)
def test_no_row_of_a_table_stands_there_twice(page):
    rows = re.findall(r"^\| `.*", TEXTS[page], re.MULTILINE)
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", TEXTS[page])
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_are_named_exist(page):
    named = re.findall(r"`((?:configs|demo|docs|examples|fada_tf|scripts|serving|tests)/[\w./-]+)", TEXTS[page])
    named += re.findall(r'--8<-- "(.*?)"', TEXTS[page])
    assert not [path for path in named if not path.startswith("fada_tf/methods/NAME") and not (ROOT / path).exists()]


@pytest.mark.parametrize("page", TEXTS)
def test_commands_can_be_given(page):
    fields = settings()
    for line in commands(TEXTS[page]):
        if not (match := PROGRAM.search(line)):
            continue
        program, rest = match.groups()
        program = {"doctor": "check_machine"}.get(program, program)
        assert program in OPTIONS, line
        for word in shlex.split(rest):
            name, _, value = word.removeprefix("--").partition("=")
            if word.startswith("--config."):
                assert name.removeprefix("config.") in fields, line
            elif word.startswith("--"):
                assert name in OPTIONS[program], f"{line}: --{name}"
            if name in ("config", "study") and not value.startswith("my/"):
                path = value.partition(":")[0]
                kinds = (shipped.EXPERIMENTS, shipped.STUDIES)
                assert any(pathlib.Path(shipped.find(path, kind)).exists() for kind in kinds), line


@pytest.mark.parametrize("page", TEXTS)
def test_settings_of_trainings_work_together(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for line in commands(TEXTS[page]):
        match = PROGRAM.search(line)
        words = shlex.split(match[2]) if match and match[1] == "train" else []
        given = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
        if given.get("config", "my/").startswith("my/") or "STAGE" in given["config"]:
            continue
        own = [f"{name[len('config.') :]}={value}" for name, value in given.items() if name.startswith("config.")]
        experiment_file.read_config(given["config"], own)


@pytest.mark.parametrize("page", TEXTS)
def test_options_and_settings_in_sentences_exist(page):
    prose = re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.MULTILINE | re.DOTALL)
    options = FOREIGN.union(*OPTIONS.values())
    code = re.findall(r"`([^`\n]+)`", prose)
    named = [name for text in code for name in re.findall(r"--(\w[\w-]*)(?![\w.])", text)]
    assert not set(named) - options - {"config"}
    fields = settings()
    sections = {name.partition(".")[0] for name in fields if "." in name}
    dotted = [name for text in code for name in re.findall(r"^(?:--)?(?:config\.)?((?:\w+\.)+\w+)(?:=.*)?$", text)]
    wrong = [name for name in dotted if name.partition(".")[0] in sections and not name.endswith((".py", ".onnx"))]
    assert not [name for name in wrong if name not in fields and not any(f.startswith(f"{name}.") for f in fields)]


def test_a_page_that_loads_from_elsewhere_is_refused():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))
    for own in ('<script src="assets/x.js">', '<a href="https://arxiv.org">', '<link rel="stylesheet" href="x.css">'):
        assert HOOKS.on_post_page(own, page=page) == own
    for foreign in ('<script src="https://a.b/c">', "<img src=//a.b/c>", '<link rel="stylesheet" href="https://a.b">'):
        with pytest.raises(HOOKS.PluginError, match=r"index\.md loads from elsewhere"):
            HOOKS.on_post_page(foreign, page=page)


def test_the_site_and_its_search_need_no_network():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert site["theme"]["font"] is False and "offline" in site["plugins"]
    # The theme would load a script for searches from the disk from elsewhere, unless there is one of this name.
    (script_of_search,) = site["extra"]["polyfills"]
    assert "iframe-worker" in script_of_search and (ROOT / "docs" / script_of_search).exists()


def test_messages_are_what_the_programs_say():
    said = "\n".join(re.sub(r'"\s*(?:\n\s*)?\+?\s*f?"', "", path.read_text()) for path in SOURCES)
    quoted = re.findall(r"^`(.+)`\n: ", TEXTS["docs/troubleshooting.md"], re.MULTILINE)
    assert len(quoted) > 25
    pieces = [piece.strip() for message in quoted for piece in message.split("...")]
    assert not [piece for piece in pieces if piece not in said]


def test_every_plug_in_has_its_place():
    data_sets, networks = TEXTS["docs/data_sets.md"], TEXTS["docs/networks.md"]
    assert not [name for name in registry.names("fada_tf.data.datasets") if f"| `{name}` |" not in data_sets]
    for package in ("backbones", "heads"):
        names = registry.names(f"fada_tf.models.{package}")
        assert not [name for name in names if name != "tiny" and f"`{name}" not in networks]
    methods = set(registry.names("fada_tf.methods"))
    pages = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")}
    assert methods - {"source_only"} == pages - {"index"}
    assert all(f"`{name}`" in TEXTS["docs/methods/index.md"] for name in methods)


def test_tables_of_settings_are_those_of_the_schema():
    table = HOOKS.on_page_markdown("<!-- settings fada_tf.config.TrainingConfig -->")
    fields = dataclasses.fields(Config().training)
    assert len(table.splitlines()) == 2 + len(fields)
    for field in fields:
        assert f"| `{field.name}` | `{field.default!r}`".replace("'", '"') in table.replace("'", '"').replace(
            "_000", "000"
        )
        assert field.metadata["doc"].replace("*", "\\*") in table


def test_diagrams_are_what_their_script_draws():
    diagrams = script("diagrams")
    for name, (boxes, arrows) in diagrams.DIAGRAMS.items():
        assert (ROOT / "docs" / "pictures" / f"{name}.svg").read_text() == diagrams.svg(boxes, arrows)
        assert f"(../pictures/{name}.svg)" in TEXTS[f"docs/methods/{name}.md"]


@pytest.mark.parametrize("page", TEXTS)
def test_tables_of_studies_are_what_their_script_makes_of_the_results(page):
    assert TABLES.filled(TEXTS[page]) == TEXTS[page], "run python docs/tables.py"


def test_the_first_page_and_the_results_have_tables_of_studies():
    assert all("<!-- table: " in TEXTS[page] for page in ("README.md", "docs/results.md"))
    for report in (ROOT / "docs" / "reports").glob("*.json"):
        assert f"<!-- table: {report.stem}\n" in TEXTS["docs/results.md"]
        assert '"/' not in report.read_text(), f"{report} names a path of the machine that ran the study"


def test_a_page_chooses_rows_and_columns_of_a_study(tmp_path):
    control = Result("source, long", 900, {0: {"mean_iou": 0.25}, 1: {"mean_iou": 0.2}})
    adapted = Result("FADA, then MIC", 1200, {0: {"mean_iou": 0.3}, 1: {"mean_iou": 0.35}}, control)
    rows = [control, adapted, Result("not trained yet", 1200, {})]
    (tmp_path / "x.json").write_text(study_tables.as_json({"name": "x"}, rows))
    head = "Before.\n\n<!-- table: x\n"
    old = "-->\n\n| stale |\n\n<!-- end of table -->\nAfter.\n"
    chosen = "columns: above control | mean IoU\nrows: FADA, then MIC\n"
    page = TABLES.filled(head + chosen + old, tmp_path)
    table = "|  | above control | mean IoU |\n| --- | --- | --- |\n| FADA, then MIC | +10.0 ± 7.1 | 32.5 ± 3.5 |"
    assert page == head + chosen + old.replace("| stale |", table)
    assert TABLES.filled(page, tmp_path) == page
    assert TABLES.filled(2 * (head + chosen + old), tmp_path) == 2 * page
    whole = TABLES.filled(head + old, tmp_path)
    assert re.findall(r"^\| .*", whole, re.MULTILINE)[0] == "|  | iterations | seeds | mean IoU | above control |"
    assert "| source, long | 900 | 2 | 22.5 ± 3.5 |  |" in whole and "not trained" not in whole
    for wrong, message in {
        "columns: CCD\n": "x has no values of CCD: choose from iterations | seeds | mean IoU | above control",
        "rows: MIC\n": "x has no values of MIC: choose from source, long | FADA, then MIC",
        "row: MIC\n": "a table has columns and rows, and no row",
        "columns MIC\n": "is not as docs/tables.py has it",
    }.items():
        with pytest.raises(SystemExit, match=re.escape(message)):
            TABLES.filled(head + wrong + old, tmp_path)
    with pytest.raises(SystemExit, match="or lacks its <!-- end of table -->"):
        TABLES.filled(head + "-->\n", tmp_path)


def test_the_strip_of_pictures_has_a_row_an_image(tmp_path, monkeypatch):
    pictures = script("pictures")
    for stage, color in (("source", "red"), ("last", "lime")):
        for folder in ("masks", "overlays"):
            (tmp_path / "pictures" / stage / folder).mkdir(parents=True)
            for image in pictures.IMAGES.glob("*.jpg"):
                Image.new("RGB", (8, 6), color).save(tmp_path / "pictures" / stage / folder / f"{image.stem}.png")
    (tmp_path / "runs/last/pictures").mkdir(parents=True)
    Image.new("RGB", (8, 6), "blue").save(tmp_path / "runs/last/pictures/mixed.png")
    monkeypatch.setattr(pictures, "OUTPUT", tmp_path)
    monkeypatch.setattr(pictures.shutil, "which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["pictures.py", f"--demo={tmp_path}", "--adapted=last", "--rows=2"])
    pictures.main()
    strip = Image.open(tmp_path / "demo.jpg").convert("RGB")
    assert strip.size == (4 * 320 + 3 * 6, 30 + 2 * 240 + 6)
    assert all(strip.getpixel((480, top))[0] > 200 > 100 > strip.getpixel((480, top))[1] for top in (150, 400))
    assert all(strip.getpixel((800, top))[1] > 200 > 100 > strip.getpixel((800, top))[0] for top in (150, 400))
    overlays = Image.open(tmp_path / "overlays.jpg").convert("RGB")
    assert overlays.size == (2 * 320 + 6, 30 + 240)
    assert overlays.getpixel((160, 150))[0] > 200 > 100 > overlays.getpixel((500, 150))[0]
    assert Image.open(tmp_path / "mixed.jpg").convert("RGB").size == (8, 6)
    # The sky of the truth, and a road below it, of the class file's colours.
    assert strip.getpixel((1120, 40)) != strip.getpixel((1120, 260))


def test_the_experiment_of_the_tutorial_can_be_trained(tmp_path):
    file = experiment_file.ExperimentFile(str(ROOT / "examples" / "your_photos.py"))
    assert [stage.name for stage in file.stages] == ["source", "self_training"]
    for stage in file.stages:
        config = file.config(stage.name)
        validate(config)
        config.data.evaluation.records = ""  # for those who have no labelled photos
        validate(config)
    (classes,) = re.findall(r'```{.json title="my/classes.json"}\n(.*?)```', TEXTS["docs/tutorial.md"], re.DOTALL)
    (tmp_path / "classes.json").write_text(classes)
    assert ClassFile.load(str(tmp_path / "classes.json")).label_space.num_classes == 3


def test_the_container_has_what_it_copies_and_no_rights():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    passed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in lines if re.match(r"COPY (?!--from)", line) for name in line.split()[1:-1]}
    assert copied == passed and all((ROOT / name).exists() for name in copied)
    assert [line for line in lines if line.startswith("USER ")][-1] != "USER root"
    extras = configparser.ConfigParser()
    extras.read(ROOT / "setup.cfg")
    named = re.findall(r"EXTRA=(\w+)", "\n".join([*lines, TEXTS["docs/scaling.md"]]))
    assert len(named) > 2 and not set(named) - set(extras["options.extras_require"])
