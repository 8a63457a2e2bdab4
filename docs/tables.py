"""Writes the tables of studies into README.md and docs/*.md: python docs/tables.py.

A study's table.json is kept as docs/reports/NAME.json. A page has the table between two comments, the first of which
says what of it is shown; without `columns` those that have any values, without `rows` those that were measured:

<!-- table: NAME
columns: iterations | mean IoU | above control
rows: source only | FADA, then MIC
-->
<!-- end of table -->
"""

import pathlib
import re
import sys

from fada_tf.experiments import study_tables

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
END = "<!-- end of table -->"
MARKED = re.compile(rf"^(<!-- table: (\S+)\n((?:\w+: [^\n]*\n)*)-->\n)(.*?)^({END})$", re.DOTALL | re.MULTILINE)
MARK = re.compile(rf"^(?:<!-- table|{END})", re.MULTILINE)


def filled(page: str, reports: pathlib.Path = ROOT / "docs" / "reports") -> str:
    """Returns a page with the tables that its comments ask for.

    Raises:
      SystemExit: a comment is not of the form above, or names what the study has not.
    """
    if len(MARK.findall(page)) != 2 * len(MARKED.findall(page)):
        sys.exit(f"a comment that begins with '<!-- table' is not as docs/tables.py has it, or lacks its {END}")
    return MARKED.sub(lambda found: f"{found[1]}\n{_table(found[2], found[3], reports)}\n\n{found[5]}", page)


def _table(name: str, choice: str, reports: pathlib.Path) -> str:
    table = study_tables.tables(study_tables.from_json((reports / f"{name}.json").read_text()))[0]
    chosen = dict(line.split(": ", 1) for line in choice.splitlines())
    seeds = table.header.index("seeds")
    lines = _of(chosen.pop("rows", ""), {line[0]: line for line in table.lines if line[seeds] != "0"}, name)
    measured = {name: i for i, name in enumerate(table.header) if i and any(line[i] for line in lines)}
    columns = [0, *_of(chosen.pop("columns", ""), measured, name)]
    if chosen:
        sys.exit(f"{name}: a table has columns and rows, and no {', '.join(chosen)}")
    header, *lines = ([line[i] for i in columns] for line in (table.header, *lines))
    return study_tables.as_markdown(header, lines)


def _of(names: str, there: dict, study: str) -> list:
    """Returns what has the names that a comment lists; all, if it lists none."""
    wanted = names.split(" | ") if names else list(there)
    if missing := [name for name in wanted if name not in there]:
        sys.exit(f"{study} has no values of {' | '.join(missing)}: choose from {' | '.join(there)}")
    return [there[name] for name in wanted]


def main() -> None:
    """Fills all pages."""
    for page in PAGES:
        before = page.read_text()
        if (text := filled(before)) != before:
            page.write_text(text)


if __name__ == "__main__":
    main()
