"""What people have typed is shown as text, whatever it contains."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import pytest

from django_rwrouter.printable import printable


class Colour(str, Enum):
    RED = "\x1b[31m"


@dataclass(frozen=True)
class Note:
    text: str
    more: tuple["Note", ...] = ()


class Named(NamedTuple):
    text: str


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("", ""),
        ("a new disk, 새 디스크, été \N{GRINNING FACE}", "a new disk, 새 디스크, été \N{GRINNING FACE}"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("one\nline\r\ttwo", r"one\nline\r\ttwo"),
        ("\u202etxt.exe\u2028\u200b\x9b1m", r"\u202etxt.exe\u2028\u200b\x9b1m"),
        (7, 7),
        (None, None),
        (Colour.RED, Colour.RED),
        (["\x1b", ("\n", 1)], [r"\x1b", (r"\n", 1)]),
        ({"\x1b": "\n"}, {r"\x1b": r"\n"}),
        (Note("\x1b", (Note("\n"),)), Note(r"\x1b", (Note(r"\n"),))),
        (Note, Note),
        (Named("\x1b"), Named(r"\x1b")),
    ],
    ids=repr,
)
def test_what_is_shown(typed, shown):
    assert printable(typed) == shown
