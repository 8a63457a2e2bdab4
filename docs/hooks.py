"""What the pages take from the library's sources, so that no default and no explanation stands in two places.

A line `<!-- settings MODULE.CLASS ... -->` of a page becomes a table of the settings that these dataclasses declare,
and `<!-- programs -->` what every program says of itself, with its options. The sources are read, not imported.
"""

import ast
import pathlib
import re
from collections.abc import Iterator

try:
    from mkdocs.exceptions import PluginError
except ImportError:  # the tests read options with this module, whether or not the extra "docs" is installed
    PluginError = RuntimeError

ROOT = pathlib.Path(__file__).parents[1]
_PROGRAMS = ROOT / "fada_tf" / "programs"
_FOREIGN = re.compile(
    r"<(?:script|img|iframe|source)[^>]*\bsrc=\W?(?:https?:)?//[^>]*|<link[^>]*stylesheet[^>]*https?:[^>]*"
)


def on_page_markdown(markdown: str, **_) -> str:
    """Replaces the lines of a page that ask for something; called by mkdocs."""
    markdown = re.sub(r"^<!-- settings (.*) -->$", lambda match: _settings(match[1].split()), markdown, flags=re.M)
    markdown = markdown.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")  # a cell keeps it in one line
    return markdown.replace("<!-- programs -->", "\n\n".join(map(_program, programs())))


def on_post_page(output: str, page, **_) -> str:
    """Stops the build if a page loads something from elsewhere, which it could not offline; called by mkdocs."""
    if found := _FOREIGN.search(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {found[0]}")
    return output


def programs() -> list[str]:
    """Returns the names of all programs, in the order of work."""
    (order,) = (
        ast.literal_eval(node.value)
        for node in _parsed(ROOT / "fada_tf" / "command.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_ORDER"
    )
    names = {path.stem for path in _PROGRAMS.glob("[!_]*.py")}
    return [name for name in order if name in names] + sorted(names - set(order))


def options(program: str) -> dict[str, tuple[str, str]]:
    """Returns what a program's options are by default, as Python writes it, and mean, by their names."""
    tree, shared = _parsed(_PROGRAMS / f"{program}.py"), _parsed(ROOT / "fada_tf" / "cli.py")
    if program == "serve":
        tree = _parsed(ROOT / "serving" / "local_server.py")
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    functions = [node for node in shared.body if isinstance(node, ast.FunctionDef) and f"cli.{node.name}" in called]
    return {name: rest for node in (tree, *functions) for name, *rest in _definitions(node)}


def _definitions(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("flags.DEFINE_"):
            name, default, *_ = call.args
            explanation = next((word.value for word in call.keywords if word.arg == "help"), call.args[-1])
            yield ast.literal_eval(name), ast.unparse(default), _text(explanation)


def _text(node: ast.expr) -> str:
    """Returns a text that is written as one or several constants; what only running would tell becomes dots."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return str(node.value) if isinstance(node, ast.Constant) else "…"


def _program(name: str) -> str:
    docstring = ast.get_docstring(_parsed(_PROGRAMS / f"{name}.py")) or ""
    first, _, rest = docstring.partition("\n")
    rows = [
        f"| `--{option}` | {_default(default)} | {_cell(doc)} |" for option, (default, doc) in options(name).items()
    ]
    rest = f"```text\n{rest.strip()}\n```" if rest.strip() else ""
    return "\n\n".join([f"## {name}", first, rest, "\n".join(["| option | default | what |", "|---|---|---|", *rows])])


def _settings(classes: list[str]) -> str:
    rows = [row for name in classes for row in _settings_of(name)]
    return "\n".join(["| setting | default | what |", "|---|---|---|", *rows])


def _settings_of(name: str) -> Iterator[str]:
    """Yields a row of a table for each setting of a dataclass, by its full name."""
    module, _, last = name.rpartition(".")
    (found,) = (
        node
        for node in _parsed((ROOT / module.replace(".", "/")).with_suffix(".py")).body
        if isinstance(node, ast.ClassDef) and node.name == last
    )
    for field in found.body:
        call = field.value if isinstance(field, ast.AnnAssign) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "option":
            limits = [_limit(word.arg, word.value) for word in call.keywords]
            doc = "; ".join(filter(None, [_text(call.args[1]), *limits]))
            yield f"| `{ast.unparse(field.target)}` | {_default(ast.unparse(call.args[0]))} | {_cell(doc)} |"


def _limit(word: str | None, value: ast.expr) -> str:
    """Says in words what a setting takes."""
    if word == "choices" and isinstance(value, ast.Tuple):
        return "one of " + ", ".join(f"`{ast.literal_eval(choice)}`" for choice in value.elts)
    if word == "needs" and isinstance(value, ast.Tuple):
        field, values = ast.literal_eval(value)
        return f"only with `{field}` " + " or ".join(f"`{value}`" for value in values)
    return ""


def _default(code: str) -> str:
    """Returns a default as a cell of a table shows it: nothing where there is none."""
    return "" if code in ("None", "''") else f"`{code}`"


def _cell(text: str) -> str:
    """Returns a text as a cell of a table holds it; names in capitals with blanks between words stay text."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _parsed(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text())
