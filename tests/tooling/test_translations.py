"""Every text of the package is translated, and what is compiled is what was translated."""

import shutil
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.append(str(TOOLS))

import translations  # noqa: E402

KOREAN = translations.SITES[0] / "locale" / "ko" / "LC_MESSAGES" / "django.po"


def test_there_is_a_korean_translation():
    assert KOREAN in translations.catalogues()


@pytest.mark.parametrize("path", translations.catalogues(), ids=lambda path: path.parts[-3])
def test_complete_and_up_to_date(path):
    found = "\n".join(translations.complaints(path))
    assert not found, f"{found}\nRun tools/translations.py, and translate what is empty."


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "ko" / "LC_MESSAGES"
    shutil.copytree(KOREAN.parent, folder)
    return folder / "django.po"


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('msgstr "드레인"', 'msgstr ""', "'Drain' is not translated"),
        ('msgid "Drain"', 'msgid "Drained away"', "'Drain' is not in it"),
        ('msgid "Drain"', 'msgid "Drained away"', "'Drained away' is not a text of the package any more"),
        ("레플리카 “%(target)s”을(를) 드레인할까요?", "드레인할까요?", "has other placeholders"),
        ('msgstr "드레인"', 'msgstr "배수"', "django.mo is out of date"),
    ],
)
def test_what_is_wrong_is_found(copy, old, new, complaint):
    edit(copy, old, new)
    assert [each for each in translations.complaints(copy) if complaint in each]


def test_an_update_makes_room_for_what_is_new_and_compiles(copy):
    edit(copy, 'msgid "Drain"', 'msgid "Drained away"')
    translations.update(copy)
    assert "Drained away" not in copy.read_text(encoding="utf-8")
    assert [each.partition(": ")[2] for each in translations.complaints(copy)] == [
        "'Drain' is not translated"
    ]


def test_an_update_of_what_is_up_to_date_changes_nothing(copy):
    before = copy.read_bytes(), copy.with_suffix(".mo").read_bytes()
    translations.update(copy)
    assert (copy.read_bytes(), copy.with_suffix(".mo").read_bytes()) == before
