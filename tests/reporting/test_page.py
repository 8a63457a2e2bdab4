"""Tables, maps and the text of the report page."""

import base64
import dataclasses
import hashlib
import io
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from fada_tf.config import Config, method_settings
from fada_tf.data import manifest
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation.features import Sample
from fada_tf.evaluation.views import SINGLE_VIEW
from fada_tf.reporting import examples, feature_picture, gallery, page, plots, tables
from fada_tf.reporting import runs as run_lib
from fada_tf.reporting.runs import Run
from tests.reporting.parsing import Page

SPACE = LabelSpace("two", ("sky", "a|b<i>"), ((0, 0, 255), (255, 0, 0)))


CCD = {"mean_ccd": 1.5, "ccd": {"sky": 1.5}, "images": 500, "source": "<s>", "target": "t", "height": 24, "width": 32}


PICTURE = np.zeros((4, 6, 3), np.uint8)
EXAMPLES = examples.Examples(
    ["image", "truth", "one", "<b>$two$", "<u>errors"],
    ["<a href=x>"],
    [
        examples.Example(7, "<i>name", ("<fog>",), [0.25, 0.25, math.nan], [0.5, 0.5, math.nan], [PICTURE] * 5),
        examples.Example(3, "b.png", ("",), [0.75, 0.75, 0.75], [0.6, 0.8, 0.4], [PICTURE] * 5),
    ],
    8,
)


def make_run(title: str, iou: tuple, **fields) -> Run:
    config = Config(name=title, method=method_settings("fada", adversarial_weight=iou[0]))
    scores = {
        "class_iou": dict(zip(SPACE.names, iou, strict=True)), "mean_iou": 0.5, "pixel_accuracy": 0.75,
        "confusion": [[90, 10], [0, 0]], "records": "records/<test>", "images": 3, "height": 24, "width": 32,
    }  # fmt: skip
    metrics = [{"kind": "train", "step": 5, "loss/segmentation": 1.0, "speed/seconds_per_step": 0.25}]
    metrics.append({"kind": "evaluation", "step": 5, "mean_iou": 0.4})
    return Run(title, "nowhere", "nowhere/best/ckpt-60", config, scores, metrics, **fields)


@pytest.fixture
def runs() -> list[Run]:
    return [
        make_run("one", (0.2, None)),
        make_run("<b>$two$", (0.4, 0.1), ccd=CCD, multi_scale={"mean_iou": 0.6}),
    ]


def test_rows_mark_the_one_best_value(runs):
    sky, other = tables.class_rows(runs, SPACE)
    assert sky.texts() == ["20.0", "40.0"] and sky.best == 1
    assert other.texts() == ["–", "10.0"] and other.best is None
    summary = {row.name: row for row in tables.summary_rows(runs)}
    assert summary["mean IoU"].best is None  # both have the same
    assert summary["mean IoU, multi-scale"].texts() == ["–", "60.0"]
    assert summary["mean CCD"].texts() == ["–", "1.50"]
    assert "boundary IoU" not in summary and "ECE" not in summary  # scored before these were measured
    runs[0].scores.update({"boundary_iou": 0.3, "expected_calibration_error": 0.02})
    runs[1].scores.update({"boundary_iou": 0.2, "expected_calibration_error": 0.04})
    boundaries, error = (row for row in tables.summary_rows(runs) if row.name in ("boundary IoU", "ECE"))
    assert boundaries.texts() == ["30.0", "20.0"] and (boundaries.best, error.best) == (0, 0)
    assert tables.ScoreRow("ccd", [2.0, 1.0], lower_is_better=True).best == 1


def test_the_papers_table_has_a_line_for_each_run(runs):
    lines = tables.paper_table(runs, SPACE).splitlines()
    assert lines[0].startswith("|  | sky | a\\|b<i> | mean IoU |")
    assert lines[3].startswith("| <b>$two$ | **40.0** | 10.0 | 50.0 |")


def test_scores_by_condition_are_shown(runs, monkeypatch):
    monkeypatch.setattr(run_lib.checkpoint, "run_label_space", lambda directory: SPACE)
    assert tables.condition_rows(runs) == []
    assert "by condition" not in page.write_page("title", runs, "records", 0)
    runs[1].scores["by_condition"] = {"weather": {"<fog>": {"mean_iou": 0.25}, "rain": {"mean_iou": None}}}
    fog, rain = tables.condition_rows(runs)
    assert (fog.name, fog.texts(), rain.texts()) == ("weather <fog>", ["–", "25.0"], ["–", "–"])
    assert ["weather <fog>", "–", "25.0"] in Page(page.write_page("title", runs, "records", 0)).tables["conditions"]
    lines = tables.paper_table(runs, SPACE).splitlines()
    assert lines[5] == "|  | weather <fog> | weather rain |" and lines[8] == "| <b>$two$ | 25.0 | – |"


def test_only_settings_that_differ_are_listed(runs):
    assert tables.config_differences(runs) == [("name", ["one", "<b>$two$"]), ("method.adversarial_weight", [0.2, 0.4])]


def test_settings_without_effect_are_not_listed(runs):
    first, second = runs[0].config, runs[1].config
    first.method, second.method = method_settings("source_only"), method_settings("mic")
    fields = dict(tables.config_differences(runs))
    assert fields["method.adversarial"] == ["", False] and not [name for name in fields if "method.fada." in name]
    second.method.adversarial = True
    first.schedule.name, second.schedule.power = "linear", 0.8
    fields = dict(tables.config_differences(runs))
    assert fields["method.fada.class_knowledge"] == ["", "soft"] and fields["schedule.power"] == ["", 0.8]
    assert "method.fada.confidence_threshold" not in fields and "method.fada.discriminator.beta_1" in fields


def test_the_page_escapes_every_text(runs, monkeypatch):
    monkeypatch.setattr(run_lib.checkpoint, "run_label_space", lambda directory: SPACE)
    monkeypatch.setattr(page, "choose", lambda *args: EXAMPLES)
    runs[1].scores["by_condition"] = {"<a href=x>": {"<fog>": {"mean_iou": 0.25}}}
    text = page.write_page("<script>", runs, "records", 1)
    assert text.count("<script>") == 1  # the page's own
    for raw in ("<s>", "<b>$two$", "a|b<i>", "records/<test>", "<i>name", "<u>", "<a href=x>", "<fog>"):
        assert raw not in text
    for escaped in ("&lt;script&gt;", "&lt;b&gt;$two$", "a|b&lt;i&gt;", "records/&lt;test&gt;", "&lt;i&gt;name"):
        assert escaped in text
    assert text.count("<img") == 1 + 2 * len(EXAMPLES.titles)
    assert "Measured on at most 500 images of each domain" in text
    assert "://" not in text and "src='data:image/webp;base64," in text


def test_runs_of_other_classes_are_refused(runs, monkeypatch):
    other = LabelSpace("two", ("sky", "road"), SPACE.colors)
    spaces = {"nowhere": SPACE, "elsewhere": other}
    monkeypatch.setattr(run_lib.checkpoint, "run_label_space", spaces.get)
    runs[1] = dataclasses.replace(runs[1], directory="elsewhere")
    with pytest.raises(InputError, match=r"<b>\$two\$ has other classes than one \(sky, road; sky, a\|b<i>\)"):
        page.write_page("title", runs, "records", 0)


def test_a_run_of_converted_weights_has_no_metrics(runs, monkeypatch):
    monkeypatch.setattr(run_lib.checkpoint, "run_label_space", lambda directory: SPACE)
    runs[0] = dataclasses.replace(runs[0], metrics=[])
    assert Page(page.write_page("title", runs, "records", 0)).tables["runs"][1][5:7] == ["60", "–"]
    assert runs[0].seconds_per_step is None and runs[1].seconds_per_step == 0.25


def test_pictures_are_of_the_checkpoint_and_size_that_were_scored(runs, monkeypatch):
    truth = np.zeros((4, 6), np.uint8)
    seen = []
    monkeypatch.setattr(examples.checkpoint, "load_segmenter", lambda source: source)
    monkeypatch.setattr(examples, "Predictor", lambda *what: seen.append(what) or (lambda image: truth))
    monkeypatch.setattr(examples, "has_discriminator", lambda source: source == "nowhere/best/ckpt-60")
    monkeypatch.setattr(examples, "DomainPredictor", lambda *what: seen.append(what) or (lambda image: truth / 2))
    monkeypatch.setattr(examples, "_images", lambda *_: [(0, np.zeros((4, 6, 3), np.uint8), truth)])
    entries = (manifest.Entry("a.png", 0, 9, 4, 6, (24, 0, 0)),)
    held = manifest.Manifest("records", SPACE, (manifest.Shard("a", 99, "0", entries),))
    monkeypatch.setattr(examples.Manifest, "load", lambda folder: held)
    found = examples.choose(runs[:1], "records", SPACE, 1)
    place = ("nowhere/best/ckpt-60", 24, 32)
    assert seen == [(*place, SINGLE_VIEW), place]
    assert found.titles[-1] == f"discriminator, {runs[0].title}" and len(found.rows[0].pictures) == len(found.titles)


def test_rows_of_pictures_tell_conditions_and_both_runs(runs, monkeypatch):
    names, truth = ("a.png", "b.png", "c.png"), np.array([[0, 1]], np.uint8)
    seen = {"one": [[0, 0]] * 3, "<b>$two$": [[0, 1], [1, 0], [0, 0]]}  # by run, the class maps of the records
    photos = [np.full((1, 2, 3), record, np.uint8) for record in range(3)]
    monkeypatch.setattr(
        examples, "_predictor", lambda run: lambda image: np.array([seen[run.title][image.max()]], np.uint8)
    )
    monkeypatch.setattr(examples, "has_discriminator", lambda source: False)
    monkeypatch.setattr(examples, "_images", lambda *_: [(record, photos[record], truth) for record in range(3)])
    entries = [manifest.Entry(name, 9 * place, 9, 1, 2, (1, 1, 0)) for place, name in enumerate(names)]
    conditions = {"city": ("x",) * 3, "weather": ("fog", "", "rain")}
    held = manifest.Manifest("records", SPACE, (manifest.Shard("a", 99, "0", entries),), conditions=conditions)
    monkeypatch.setattr(examples.Manifest, "load", lambda folder: held)
    found = examples.choose(runs, "records", SPACE, 1)
    assert found.titles == ["image", "truth", "one", "<b>$two$", "errors, <b>$two$"]
    assert found.conditions == ["weather"]
    assert [(row.name, row.conditions, row.record) for row in found.rows] == [
        ("b.png", ("",), 1), ("c.png", ("rain",), 2), ("a.png", ("fog",), 0)
    ]  # fmt: skip
    assert [row.after for row in found.rows] == [[0, 0, 0], [0.25, 0.5, 0], [1, 1, 1]]
    assert [row.before for row in found.rows] == [[0.25, 0.5, 0]] * 3
    np.testing.assert_array_equal(found.rows[0].pictures[3], [[(255, 0, 0), (0, 0, 255)]])


def test_plots_are_pictures_of_any_number_of_runs(runs):
    for number in (1, 2):
        plot, size = plots.curves(runs[:number], SPACE)
        assert Image.open(io.BytesIO(plot)).size == size


def test_what_a_method_watches_and_makes_is_shown(runs, monkeypatch, tmp_path):
    monkeypatch.setattr(run_lib.checkpoint, "run_label_space", lambda directory: SPACE)
    plain = page.write_page("title", runs, "records", 0)
    shares = {"watched/pseudo_label_share/0": 0.75, "watched/pseudo_label_share/1": 0.25}
    shares |= {"watched/confident_share": 0.5, "speed/seconds_per_step": 1.0}
    lines = [{"kind": "train", "step": step} | shares for step in (5, 10)]
    lines += [{"kind": "evaluation", "step": 10, "mean_iou": 0.4, "student/mean_iou": 0.4, "teacher/mean_iou": 0.3}]
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (3000, 10)).save(tmp_path / "pictures" / "mixed<.png")
    runs[1] = dataclasses.replace(runs[1], metrics=lines, directory=str(tmp_path))
    pixels = np.asarray(Image.open(io.BytesIO(plots.curves(runs, SPACE)[0])).convert("RGB")).reshape(-1, 3)
    blue, red = ((pixels == color).all(1).sum() for color in SPACE.colors)
    assert red > 1000 and blue == pytest.approx(3 * red, rel=0.05)
    student_alone = [{key: value for key, value in line.items() if key != "teacher/mean_iou"} for line in lines]
    assert plots.curves(runs, SPACE) != plots.curves(
        [runs[0], dataclasses.replace(runs[1], metrics=student_alone)], SPACE
    )
    text = page.write_page("title", runs, "records", 0)
    assert text.count("<img") == plain.count("<img") + 1 and "<summary>&lt;b&gt;$two$: mixed&lt;</summary>" in text
    assert "counts 1" in text and "counts 1" not in plain


def test_no_label_of_a_plot_is_cut_off():
    names = tuple(f"class number {number}" for number in range(11))
    space, runs = LabelSpace("long", names, ((0, 0, 0),) * 11), [make_run(title, (0.2, None)) for title in "abc"]
    pixels = np.asarray(Image.open(io.BytesIO(plots.curves(runs, space)[0])).convert("L"))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert edge.min() == 255


def test_dollars_in_names_are_no_formulas(runs):
    names = r"$\frac$ and $_$"
    space = LabelSpace("two", (names, "road"), SPACE.colors)
    runs = [make_run(names, (0.2, None)), runs[1]]
    sample = Sample(2, 5)
    sample.add(np.random.default_rng(0).normal(size=(8, 3)).astype("f"), np.arange(8) % 2)
    for picture in (
        plots.curves(runs, space)[0],
        feature_picture.draw({names: {"source": sample, "target": sample}}, space, {names: names}),
    ):  # fmt: skip
        assert picture.startswith(b"\x89PNG")


def test_a_curve_has_no_point_where_there_is_no_number(runs):
    lines = [{"kind": "evaluation", "step": step, "mean_iou": value} for step, value in ((1, None), (2, 0.5))]
    run = dataclasses.replace(runs[0], metrics=lines)
    assert run.curve("evaluation", "mean_iou") == ([2], [0.5])
    assert plots.curves([run], SPACE)[0].startswith(b"\x89PNG")


def test_everything_has_a_link_of_its_own_and_every_link_leads_somewhere(runs, monkeypatch):
    monkeypatch.setattr(run_lib.checkpoint, "run_label_space", lambda directory: SPACE)
    monkeypatch.setattr(page, "choose", lambda *args: EXAMPLES)
    elements = Page(page.write_page("title", runs, "records", 1)).elements
    places = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(places) == len(set(places))
    wanted = {attributes["id"] for tag, attributes in elements if tag in ("section", "table", "article")}
    assert wanted >= {"scores", "classes", "distances", "confusion-1", "pictures", "picture-7", "picture-3"}
    links = {attributes["href"].removeprefix("#") for tag, attributes in elements if tag == "a"}
    assert wanted <= links <= set(places)


def test_names_in_tables_lead_to_the_pictures_that_there_are(runs, monkeypatch):
    monkeypatch.setattr(run_lib.checkpoint, "run_label_space", lambda directory: SPACE)
    monkeypatch.setattr(page, "choose", lambda *args: dataclasses.replace(EXAMPLES, rows=EXAMPLES.rows[:1]))
    runs[1].scores["by_condition"] = {"<a href=x>": {value: {"mean_iou": 0.25} for value in ("<fog>", "rain")}}
    elements = Page(page.write_page("title", runs, "records", 1)).elements
    settings = [attributes["data-settings"] for _, attributes in elements if "data-settings" in attributes]
    assert settings == ["class=sky", "condition.%3Ca+href%3Dx%3E=%3Cfog%3E"]
    assert [attributes["value"] for _, attributes in elements if "disabled" in attributes] == ["a|b<i>"]
    assert [attributes["data-images"] for tag, attributes in elements if tag == "output"] == ["8"]
    (scores,) = (json.loads(attributes["data-scores"]) for tag, attributes in elements if tag == "article")
    assert scores == {"before": [0.25, 0.25, None], "after": [0.5, 0.5, None], "conditions": ["<fog>"]}


def test_pictures_are_of_both_ends_of_all_of_classes_and_of_conditions():
    mean = np.linspace(0, 1, 50)
    rare = np.full(50, np.nan)
    rare[[20, 25, 30]] = 0.1, 0.3, 0.2
    fog = np.isin(np.arange(50), [10, 11, 12])
    scores = np.stack([mean, mean, rare], axis=1)
    assert examples._chosen(scores, [], 2) == {0, 1, 48, 49, 20, 25}
    assert examples._chosen(scores, [fog], 2) == {0, 1, 48, 49, 20, 25, 10, 12}
    each = list(np.eye(50, dtype=bool))
    assert len(examples._chosen(scores, each, 1)) == examples._MOST
    assert examples._chosen(scores[:3], [], 2) == {0, 1, 2}
    assert examples._chosen(np.full((3, 2), np.nan), [], 2) == set()


def test_a_picture_of_classes_is_stored_exactly_and_a_photo_small():
    rng = np.random.default_rng(0)
    colors = np.array(SPACE.colors, np.uint8)[(np.arange(960) // 320)[None].repeat(40, 0) % 2]
    photo = (128 + 60 * np.sin(np.arange(400) / 40)[:, None, None] + rng.normal(0, 8, (400, 400, 3))).astype(np.uint8)
    for pixels, kind in ((colors, "map"), (photo, None)):
        ((_, attributes),) = Page(gallery.image("<'\">", pixels)).elements
        assert (attributes.get("class"), attributes["alt"]) == (kind, "<'\">")
        data = base64.b64decode(attributes["src"].removeprefix("data:image/webp;base64,"))
        stored = Image.open(io.BytesIO(data)).convert("RGB")
        assert stored.size == (int(attributes["width"]), int(attributes["height"])) and stored.width <= 480
        if kind:
            assert {color for _, color in stored.getcolors()} == set(SPACE.colors)
        else:
            assert len(data) < pixels.size / 4


def test_the_page_lets_no_script_run_but_its_own(runs, monkeypatch):
    monkeypatch.setattr(run_lib.checkpoint, "run_label_space", lambda directory: SPACE)
    text = page.write_page("title", runs, "records", 0)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (policy,) = (attributes["content"] for _, attributes in Page(text).elements if "http-equiv" in attributes)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_errors_are_red_and_pixels_without_a_label_black():
    label, class_map = np.array([[0, 1, 255]], np.uint8), np.array([[0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(examples.error_map(label, class_map), [[(225, 235, 225), (200, 30, 30), (0, 0, 0)]])


def test_the_discriminators_colours_run_from_blue_over_white_to_red():
    blue, white, red = examples.domain_map(np.array([[0.0, 0.5, 1.0]]))[0].astype(int)
    assert blue[2] > blue[0] + 50 and red[0] > red[2] + 50 and white.min() > 240


def test_features_that_lie_apart_lie_apart_in_the_plane():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(center, 0.1, (20, 60)) for center in (0, 5)]).astype("f")
    first, second = np.split(feature_picture.project(vectors), 2)
    spread = max(part.std(0).max() for part in (first, second))
    assert np.linalg.norm(first.mean(0) - second.mean(0)) > 2 * spread
