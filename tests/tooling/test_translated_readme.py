"""README.ko.md keeps up with README.md."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("translated_readme", ROOT / "tools" / "translated_readme.py")
tool = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tool)

ORIGINAL = "# Shop\n\nOne line.\n\n## Why\n\nBecause.\n\n## How\n\nSo.\n"


def code(path):
    """Return the code blocks of a file without their comments, which are translated."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [re.sub(r"[ \t]*#.*", "", block) for block in blocks]


def test_the_translation_is_up_to_date():
    outdated = tool.changes(*(path.read_text(encoding="utf-8") for path in (tool.ORIGINAL, tool.TRANSLATION)))

    assert not outdated, (
        f"README.md has changed: {', '.join(outdated)}."
        " Translate that, then run: python tools/translated_readme.py --done"
    )


def test_the_code_is_the_same():
    assert code(tool.TRANSLATION) == code(tool.ORIGINAL)


def test_a_fresh_translation_is_up_to_date():
    assert tool.changes(ORIGINAL, tool.with_record(ORIGINAL, "# 가게\n")) == []


def test_it_lists_what_has_changed():
    translation = tool.with_record(ORIGINAL, "# 가게\n")
    edited = ORIGINAL.replace("Because.", "Because of that.").replace("## How", "## Where")

    assert tool.changes(edited, translation) == ["new: Where", "changed: Why", "gone: How"]


def test_the_record_is_kept_once():
    twice = tool.with_record(ORIGINAL, tool.with_record(ORIGINAL, "# 가게\n"))

    assert twice == tool.with_record(ORIGINAL, "# 가게\n")


def test_a_translation_without_a_record_is_all_new():
    assert tool.changes(ORIGINAL, "# 가게\n") == ["new: Shop", "new: Why", "new: How"]
