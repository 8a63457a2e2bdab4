"""Every dependency has bounds and a licence that is known; nothing secret is in the sources."""

import configparser
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-\w{10}"
    r"|(?i:password|secret|api_key|token)\s*[:=]\s*['\"][^'\"\s]{8,}['\"]"
)


def requirements() -> list[str]:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lists = [settings["options"]["install_requires"], *settings["options.extras_require"].values()]
    return sorted({line for text in lists for line in text.splitlines() if line and not line.startswith("#")})


@pytest.mark.parametrize("requirement", requirements())
def test_a_dependency_has_bounds_and_a_licence(requirement):
    match = re.fullmatch(r"([\w.-]+)(\[[a-z-]+\])?>=[\d.]+,<[\d.]+", requirement)
    assert match, f"{requirement}: bounds are missing"
    assert f"| {match[1]} " in (ROOT / "DEPENDENCIES.md").read_text()


def test_no_secret_is_in_the_sources():
    try:
        listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no git, or this is no checkout")
    found = []
    for path in map(ROOT.joinpath, listing.stdout.splitlines()):
        if path.is_file():
            found += [f"{path}: {match[0]}" for match in SECRETS.finditer(path.read_bytes().decode(errors="replace"))]
    assert not found


def test_the_version_is_one():
    version = re.search(r"^version = (\S+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)[1]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f'\nversion = "{version}"\n' in (ROOT / "serving" / "pyproject.toml").read_text()
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()
