"""The kinds of events: each is told in the documentation, and none goes by another name."""

import ast
import re
from pathlib import Path
from typing import get_args

import django_rwrouter
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.scope.token import Flaw
from django_rwrouter.stats.summary import FAILURES

PACKAGE = Path(django_rwrouter.__file__).parent
PAGE = PACKAGE.parent / "docs" / "statistics.md"
ROW = re.compile(r"^\s*\| (?P<names>`[^|]+`) \|(?P<subject>[^|]*)\| [^|]+ \|$", re.MULTILINE)
SUBJECTS = {"flaw": ", ".join(f"`{flaw}`" for flaw in sorted(get_args(Flaw))), "store": "class of the store"}


def documented():
    """Return what the table says that each event is of."""
    table, _, _rest = PAGE.read_text(encoding="utf-8").partition("\nStatements that failed")
    return {
        name: row["subject"].strip()
        for row in ROW.finditer(table)
        for name in re.findall(r"`(\w+)`", row["names"])
    }


def test_the_table_of_events_has_each_kind_with_its_subject():
    expected = {kind.value: SUBJECTS.get(kind.subject, kind.subject) for kind in EventKind}
    assert documented() == expected, f"Correct the table in {PAGE.name}."


def test_what_is_counted_is_a_kind():
    counted = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                [first, *_more] = node.args
                if node.func.attr in ("count_event", "note_event") and isinstance(first, ast.Constant):
                    counted[first.value] = path.name
    unknown = counted.keys() - {kind.value for kind in EventKind}
    assert not unknown, f"Add to EventKind: {unknown}"
    assert {kind.value for kind in EventKind} >= FAILURES
