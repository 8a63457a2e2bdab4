"""The page in a browser, at the width of a phone and of a desk: what it shows, its script, and who can use it."""

import shutil

import pytest

from fada_tf.reporting import page
from fada_tf.reporting import runs as run_lib
from tests.reporting.test_page import EXAMPLES, SPACE, make_run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.slow
if BROWSER is None:
    pytest.skip("there is no Chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `browser`)")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra `browser`)")


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    runs = [make_run("one", (0.2, None)), make_run("<b>$two$", (0.4, 0.1))]
    runs[1].scores["by_condition"] = {"<a href=x>": {"<fog>": {"mean_iou": 0.25}, "rain": {"mean_iou": 0.5}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_lib.checkpoint, "run_label_space", lambda directory: SPACE)
        patch.setattr(page, "choose", lambda *args: EXAMPLES)
        text = page.write_page("<title>", runs, "records", 1)
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(text)
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[(390, "light"), (1280, "light"), (1280, "dark")], ids=["phone", "desk", "dark"])
def tab(browser, request, address):
    width, colors = request.param
    opened = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=colors)
    complaints = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(address)
    yield opened
    opened.close()
    assert not complaints


def column(tab, place: int) -> list[str]:
    return tab.locator(f"#classes tbody tr > :nth-child({place + 1})").all_inner_texts()


def names(tab) -> list[str]:
    return [text.partition("#")[0] for text in tab.locator("article:visible h3").all_inner_texts()]


def fragment(tab) -> str:
    return tab.evaluate("location.hash.slice(1)")


def faults(tab) -> list[str]:
    found = axe.Axe().run(tab).response["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in found if fault["impact"] in ("serious", "critical")
    ]


def test_all_can_use_it_and_it_is_no_wider_than_the_screen(tab):
    assert not faults(tab)
    tab.get_by_role("button", name="Compare the pictures of b.png").click()
    assert tab.locator("dialog").is_visible() and not faults(tab)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_heading_sorts_its_table_by_keyboard_too(tab):
    assert column(tab, 2) == ["40.0", "10.0"] and column(tab, 1) == ["20.0", "–"]
    button = tab.locator("#classes thead button").nth(2)
    orders = []
    for _ in range(3):
        button.press("Enter")
        orders.append((column(tab, 2), fragment(tab)))
    down, up = ["40.0", "10.0"], ["10.0", "40.0"]
    assert orders == [(down, "classes&sort.classes=-2"), (up, "classes&sort.classes=2"), (down, "classes")]
    tab.locator("#classes thead button").nth(1).press("Enter")
    tab.locator("#classes thead button").nth(1).press("Enter")
    assert column(tab, 1) == ["20.0", "–"]  # what is unknown stays last


def test_an_address_with_settings_shows_them(tab, address):
    tab.goto(f"{address}#pictures&class=a%7Cb%3Ci%3E&order=best&sort.classes=2&unknown=1&order=")
    assert names(tab) == ["b.png"]
    assert column(tab, 2) == ["10.0", "40.0"]
    assert tab.locator("#classes th[aria-sort]").get_attribute("aria-sort") == "ascending"
    tab.get_by_role("button", name="Show all").click()
    assert tab.locator("article:visible").count() == 2 and "1=" not in fragment(tab)
    tab.goto(f"{address}#pictures&view=3&left=1&right=4&divider=20")
    assert tab.locator("dialog h3").inner_text() == "b.png"
    assert tab.locator("dialog [name=divider]").input_value() == "20"


def test_pictures_are_chosen_by_class_and_condition(tab):
    assert names(tab) == ["<i>name", "b.png"]
    tab.select_option("[name=order]", "gained")
    assert names(tab) == ["<i>name", "b.png"]
    tab.select_option("[name=order]", "lost")
    assert names(tab) == ["b.png", "<i>name"] and fragment(tab) == "pictures&order=lost"
    tab.locator("#conditions a[data-settings]").click()
    assert names(tab) == ["<i>name"] and tab.locator("output").inner_text() == "1 of the 8 images"
    tab.go_back()
    tab.select_option("[name=class]", "a|b<i>")
    assert names(tab) == ["b.png"]
    assert "a|b<i> 40.0 %, before 75.0 %" in tab.locator("article:visible .facts").inner_text()


def test_two_pictures_are_compared_and_the_address_is_their_link(tab):
    button = tab.get_by_role("button", name="Compare the pictures of <i>name")
    button.press("Enter")
    assert tab.locator("dialog select").evaluate_all("all => all.map((one) => one.selectedIndex)") == [2, 3]
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("PageDown")
    assert tab.locator("dialog h3").inner_text() == "b.png"
    tab.select_option("dialog [name=left]", "0")
    assert fragment(tab) == "pictures&view=3&divider=49&left=0"
    assert tab.locator(".stage").evaluate("stage => stage.style.getPropertyValue('--divider')") == "49%"
    tab.keyboard.press("Escape")
    tab.wait_for_url("**#pictures")  # the address changes after the dialog has closed
    assert not tab.locator("dialog").is_visible()
    assert button.evaluate("button => button === document.activeElement")
    tab.locator("article img").nth(1).click()
    box = tab.locator(".stage").bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 4, box["y"] + 5)
    assert fragment(tab) == "pictures&view=7&left=0&right=1&divider=25"
    tab.go_back()
    tab.locator("dialog").wait_for(state="hidden")


def test_it_can_be_read_without_a_script(browser, address):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    tab = context.new_page()
    tab.goto(f"{address}#picture-3")
    assert tab.locator("article img:visible").count() == 10 and tab.locator("#classes tbody tr:visible").count() == 2
    assert not tab.locator("#filter, dialog").first.is_visible()
    context.close()
