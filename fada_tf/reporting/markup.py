"""Web pages of one file: tables that sort and a link to every part, also without a script and without a network."""

import base64
import dataclasses
import hashlib
import html
from collections.abc import Sequence
from importlib import resources

# Only the page's own script runs and nothing is loaded, whatever a name in the page may say.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'; form-action 'none'"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
      name: its id: the page's address with #NAME behind it leads there.
      title: its heading.
      content: markup.
    """

    name: str
    title: str
    content: str


def escaped(value: object) -> str:
    """Returns a value as text of a page, or of an attribute in quotes: no part of it becomes markup."""
    return html.escape(str(value))


def page(title: str, sections: Sequence[Section]) -> str:
    """Returns a whole page, with a list of its sections where it has several.

    Args:
      title: its heading.
      sections: in order; those without content are left out.
    """
    style, script = (resources.files(__package__).joinpath(f"page.{kind}").read_text() for kind in ("css", "js"))
    policy = _POLICY.format(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode())
    shown = [section for section in sections if section.content]
    links = "".join(f"<li><a href='#{section.name}'>{escaped(section.title)}</a></li>" for section in shown)
    contents = f"<nav aria-label=Contents><ul>{links}</ul></nav>" if len(shown) > 1 else ""
    parts = [
        f"<section id={section.name} tabindex=-1><h2>{escaped(section.title)}{link(section.name, section.title)}</h2>"
        f"{section.content}</section>\n"
        for section in shown
    ]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">'
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<meta name=color-scheme content='light dark'>"
        f"<title>{escaped(title)}</title><style>{style}</style></head>\n"
        f"<body><header><h1>{escaped(title)}</h1>{contents}</header>\n"
        f"<main>{''.join(parts)}</main>\n<script>{script}</script></body></html>\n"
    )


def table(
    name: str, caption: str, header: Sequence[str], lines: Sequence[str], totals: Sequence[str] = (), kind: str = ""
) -> str:
    """Returns a table, which a click on a heading sorts.

    Args:
      name: its id.
      caption: what it shows.
      header: a text for each column.
      lines: as `line` makes them.
      totals: those that stay at the end, however the others are sorted.
      kind: its class in page.css.
    """
    cells = "".join(f"<th scope=col>{escaped(text)}</th>" for text in header)
    foot = f"<tfoot>{''.join(totals)}</tfoot>" if totals else ""
    return (
        f"<div class=wide role=region tabindex=0 aria-labelledby={name}-caption><table id={name} class='{kind}'>"
        f"<caption><span id={name}-caption>{escaped(caption)}</span>{link(name, caption)}</caption>"
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody>{foot}</table></div>"
    )


def line(heading: str, cells: Sequence[str], settings: str = "") -> str:
    """Returns a line of a table.

    Args:
      heading: a text.
      cells: as `cell` makes them.
      settings: of the pictures that the heading leads to, as in the page's address; empty: it leads nowhere.
    """
    text = f"<a href='#pictures' data-settings='{escaped(settings)}'>{escaped(heading)}</a>" if settings else None
    return f"<tr><th scope=row>{text or escaped(heading)}</th>{''.join(cells)}</tr>"


def cell(value: object, kind: str = "", bar: float | None = None) -> str:
    """Returns a cell of a line.

    Args:
      value: its text.
      kind: its class in page.css.
      bar: how long the bar below the text is, in 0..1; None: there is none.
    """
    style = "" if bar is None else f" style=--length:{bar:.3f}"
    return f"<td{f' class={kind}' if kind else ''}{style}>{escaped(value)}</td>"


def picture(alternative: str, data: bytes, kind: str, size: tuple[int, int], style: str = "") -> str:
    """Returns a picture within the page.

    Args:
      alternative: a text for those who do not see it.
      data: of the file.
      kind: of the file, such as "webp".
      size: width and height, in pixels.
      style: its class in page.css.
    """
    mark = f" class={style}" if style else ""
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f"<img{mark} alt='{escaped(alternative)}' width={size[0]} height={size[1]} src='{url}'>"


def link(name: str, title: str) -> str:
    """Returns a link to what has the id `name`: what is shared."""
    return f"<a class=link href='#{name}' aria-label='Link to {escaped(title)}'>#</a>"
