"""The pictures of a report page: chosen by class and condition, and compared with a divider between two of them."""

import io
import json
import math
from collections.abc import Sequence
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from fada_tf.data.labels import LabelSpace
from fada_tf.reporting import markup
from fada_tf.reporting.examples import Example, Examples
from fada_tf.reporting.markup import escaped

_WIDEST = 480  # pixels of a picture in the page
_ORDERS = {"worst": "worst first", "best": "best first", "gained": "most gained first", "lost": "most lost first"}


def gallery(examples: Examples, label_space: LabelSpace) -> str:
    """Returns all pictures, readable without a script, and what the page's script needs to choose and compare them."""
    _, _, first, last, *_ = examples.titles
    note = f"Mean IoU is that of {last}, before that of {first}. " if examples.rows[0].before else ""
    note += "Errors are red; black has no label."
    if any(title.startswith("discriminator") for title in examples.titles):
        note += " The discriminator takes red pixels for target, blue ones for source; white ones it cannot tell."
    rows = "".join(_example(row, examples) for row in examples.rows)
    head = f"{legend(label_space)}<p>{escaped(note)}</p>{_filter(examples, label_space)}"
    return f"{head}{rows}{_viewer(examples.titles, label_space)}"


def class_settings(examples: Examples | None, place: int, name: str) -> str:
    """Returns the settings of the page that show the pictures with a class; "" where there are none.

    Args:
      examples: the pictures; None: the page has none.
      place: of the class among all.
      name: of the class.
    """
    known = examples and any(not math.isnan(row.after[1 + place]) for row in examples.rows)
    return urlencode({"class": name}) if known else ""


def condition_settings(examples: Examples | None, condition: str, value: str) -> str:
    """Returns the settings of the page that show the pictures of a condition; "" where there are none."""
    if not examples or condition not in examples.conditions:
        return ""
    place = examples.conditions.index(condition)
    known = any(row.conditions[place] == value for row in examples.rows)
    return urlencode({f"condition.{condition}": value}) if known else ""


def legend(label_space: LabelSpace) -> str:
    """Returns the classes with their colours."""
    entries = zip(label_space.names, label_space.colors, strict=True)
    items = (f"<li><i style='background:rgb{tuple(color)}'></i>{escaped(name)}</li>" for name, color in entries)
    return f"<ul class=legend>{''.join(items)}</ul>"


def image(alternative: str, pixels: np.ndarray, widest: int = _WIDEST) -> str:
    """Returns uint8 pixels, [height, width, 3], as part of the page.

    Of an exact file and one as photos are stored, the smaller one counts: class colours stay exact.
    """
    picture = Image.fromarray(pixels)
    scale = min(1, widest / picture.width)
    size = (round(picture.width * scale), max(1, round(picture.height * scale)))
    exact, photo = io.BytesIO(), io.BytesIO()
    picture.resize(size, Image.Resampling.NEAREST).save(exact, "WEBP", lossless=True, method=6)
    picture.resize(size, Image.Resampling.LANCZOS).save(photo, "WEBP", quality=80, method=6)
    smaller, kind = min((exact.getvalue(), "map"), (photo.getvalue(), ""), key=lambda made: len(made[0]))
    return markup.picture(alternative, smaller, "webp", size, kind)


def _example(row: Example, examples: Examples) -> str:
    values = [f"mean IoU {100 * row.after[0]:.1f} %", *([f"before {100 * row.before[0]:.1f} %"] if row.before else [])]
    known = zip(examples.conditions, row.conditions, strict=True)
    facts = ", ".join([*values, *(f"{name} {value}" for name, value in known if value)])
    scores = json.dumps({"before": _shares(row.before), "after": _shares(row.after), "conditions": row.conditions})
    figures = (
        f"<figure>{image(f'{title} of {row.name}', pixels)}<figcaption>{escaped(title)}</figcaption></figure>"
        for title, pixels in zip(examples.titles, row.pictures, strict=True)
    )
    name = f"picture-{row.record}"
    return (
        f"<article id={name} tabindex=-1 data-scores='{escaped(scores)}'>"
        f"<h3>{escaped(row.name)}{markup.link(name, row.name)}</h3>"
        f"<p class=facts>{escaped(facts)}</p><div class=strip>{''.join(figures)}</div></article>\n"
    )


def _shares(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(value) else round(float(value), 4) for value in values]


def _filter(examples: Examples, label_space: LabelSpace) -> str:
    """Returns the choices; the script shows them."""
    orders = {name: text for name, text in _ORDERS.items() if name in ("worst", "best") or examples.rows[0].before}
    names = {name: name for name in label_space.names}
    absent = [name for place, name in enumerate(names) if not class_settings(examples, place, name)]
    controls = [_select("class", "class in the picture", {"": "any"} | names, absent)]
    for place, name in enumerate(examples.conditions):
        found = sorted({row.conditions[place] for row in examples.rows} - {""})
        controls.append(_select(f"condition.{name}", name, {"": "any"} | {value: value for value in found}))
    controls.append(_select("order", "order", orders))
    return (
        f"<form id=filter hidden>{''.join(controls)}<button type=reset>Show all</button>"
        f"<output aria-live=polite data-images={examples.images}></output></form>"
    )


def _viewer(titles: Sequence[str], label_space: LabelSpace) -> str:
    """Returns what compares two pictures; the script opens it."""
    places = {str(place): title for place, title in enumerate(titles)}
    return (
        "<dialog id=viewer aria-labelledby=viewer-name><h3 id=viewer-name></h3><p class=facts></p>"
        f"<div class=controls>{_select('left', 'left', places)}{_select('right', 'right', places)}</div>"
        "<div class=stage></div>"
        "<input name=divider type=range min=0 max=100 value=50 aria-label='Divider between the left and right picture'>"
        "<div class=controls><button type=button value=-1>Previous</button><button type=button value=1>Next</button>"
        "<button type=button value=0>Close</button></div>"
        f"{legend(label_space)}"
        "<p class=note>Arrow keys move the divider, Page Up and Page Down change the picture, Escape closes.</p>"
        "</dialog>"
    )


def _select(name: str, label: str, choices: dict[str, str], absent: Sequence[str] = ()) -> str:
    options = "".join(
        f"<option value='{escaped(value)}'{' disabled' if value in absent else ''}>{escaped(text)}</option>"
        for value, text in choices.items()
    )
    return f"<label>{escaped(label)} <select name='{escaped(name)}'>{options}</select></label>"
