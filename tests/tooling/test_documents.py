"""README, as somebody reads it on the package page, where a relative link leads nowhere."""

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest asks for it

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
URLS = PYPROJECT["project"]["urls"]
REPOSITORY, DOCUMENTATION = URLS["Homepage"], URLS["Documentation"]
READMES = sorted(path.name for path in ROOT.glob("README*.md"))
ELSEWHERE = ("https://img.shields.io/badge/", "http://127.0.0.1:8000/")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
LONGEST = 120
"""Lines of README: what somebody reads who only wants to know whether to go on."""


def links(name):
    """Return what the links and pictures of a file in the root lead to."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [link["target"] for link in LINK.finditer(re.sub(r"\s*\n\s*(?=\S+\))", "", text))]


def file_of(link):
    """Return the file of this tree that an address of the project shows, or None if it shows none."""
    if link.startswith(DOCUMENTATION):
        page = (link.removeprefix(DOCUMENTATION).partition("#")[0] or "index.html").removesuffix(".html")
        if page.startswith("ko/"):
            return ROOT / "docs" / "locale" / "ko" / "LC_MESSAGES" / f"{page.removeprefix('ko/')}.po"
        return ROOT / "docs" / f"{page}.md"
    for kind in ("blob", "raw"):
        prefix = f"{REPOSITORY}/{kind}/main/"
        if link.startswith(prefix):
            return ROOT / link.removeprefix(prefix).partition("#")[0]
    workflow = re.fullmatch(rf"{re.escape(REPOSITORY)}/actions/workflows/([\w.]+)(/badge\.svg)?", link)
    return ROOT / ".github" / "workflows" / workflow[1] if workflow else None


@pytest.mark.parametrize("name", READMES)
def test_links_and_pictures_are_addresses_of_the_project(name):
    assert links(name)
    strange = [link for link in links(name) if not link.startswith((*URLS.values(), *ELSEWHERE))]
    assert strange == []


@pytest.mark.parametrize("name", READMES)
def test_what_they_lead_to_is_in_this_tree(name):
    files = {link: file_of(link) for link in links(name) if not link.startswith(ELSEWHERE)}
    assert [link for link, file in files.items() if file is None or not file.is_file()] == []


@pytest.mark.parametrize("name", READMES)
def test_it_is_short(name):
    text = (ROOT / name).read_text(encoding="utf-8").partition("\n<!-- translated ")[0]
    assert len(text.splitlines()) <= LONGEST


@pytest.mark.parametrize("name", READMES)
def test_the_first_picture_is_the_panel(name):
    pictures = [link for link in links(name) if link.endswith(".png")]
    assert "panel" in pictures[0]


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "docs" / "_static").glob("*.png")), ids=lambda path: path.name
)
def test_pictures_are_small(picture):
    assert picture.stat().st_size < 150_000


@pytest.mark.parametrize("name", READMES)
def test_the_badge_of_coverage_says_what_is_demanded(name):
    demanded = PYPROJECT["tool"]["coverage"]["report"]["fail_under"]

    assert f"/coverage-{demanded}%25%2B%20without%20servers-" in (ROOT / name).read_text(encoding="utf-8")
