"""The translated pages of docs/ keep up with the pages."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("translated_docs", ROOT / "tools" / "translated_docs.py")
tool = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tool)

CATALOGUES = sorted(tool.LOCALE.glob("*/LC_MESSAGES/*.po"))


def test_the_translations_are_up_to_date(tmp_path):
    for package in ("furo", "myst_parser", "sphinx_copybutton"):
        pytest.importorskip(package)
    tool.originals(tmp_path)

    outdated = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in CATALOGUES
        for line in tool.changes(tool.read(tmp_path / f"{path.stem}.pot"), tool.read(path))
    ]

    assert not outdated, "Run tools/translated_docs.py --update, and translate:\n" + "\n".join(outdated)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_a_catalogue_is_as_the_tool_writes_it(path, tmp_path):
    """No fuzzy entries, no times, and no places."""
    copy = tmp_path / path.relative_to(tool.LOCALE)
    copy.parent.mkdir(parents=True)
    tool.write(copy, tool.read(path))

    assert path.read_text(encoding="utf-8") == copy.read_text(encoding="utf-8")


def test_it_lists_what_has_changed():
    now = {"One.": "", "Two!": "", "Three.": ""}
    translations = {"One.": "하나.", "Two.": "둘.", "Three.": ""}

    assert tool.changes(now, translations) == ["to translate: Two!", "to translate: Three.", "gone: Two."]


def test_code_alone_is_not_translated(tmp_path):
    path = tmp_path / "page.pot"
    path.write_text('msgid "`A`, `B`"\nmsgstr ""\n\nmsgid "`A` is it."\nmsgstr ""\n', encoding="utf-8")

    assert tool.read(path) == {"`A` is it.": ""}


def test_a_fuzzy_entry_is_no_translation(tmp_path):
    path = tmp_path / "page.po"
    path.write_text('#, fuzzy\nmsgid "One."\nmsgstr "둘."\n', encoding="utf-8")

    assert tool.read(path) == {}
