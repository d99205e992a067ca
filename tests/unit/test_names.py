"""A name means one thing: no class or type alias of the package is called like another."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import django_rwrouter

PACKAGE = Path(django_rwrouter.__file__).parent
DJANGO_NAMES = {"Meta", "Migration"}
"""Names that Django looks for: each model or migration has its own."""


def names(module: ast.Module) -> Iterator[str]:
    """Yield the names of a module's classes, inner ones too, and of its type aliases."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and _is_type_name(target.id):
                yield target.id


def _is_type_name(name: str) -> bool:
    return name[0].isupper() and not name.isupper()


def test_no_class_or_alias_is_defined_twice():
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in names(ast.parse(path.read_text(encoding="utf-8"))):
            places[name].append(str(path.relative_to(PACKAGE)))
    twice = {name: paths for name, paths in places.items() if len(paths) > 1 and name not in DJANGO_NAMES}
    assert not twice, f"Rename all but one of these: {twice}"


def test_classes_and_aliases_are_recognized():
    source = "Any = int\nLIMIT = 3\nT = 1\nText: TypeAlias = str\nclass C:\n    class D: ...\n"
    assert sorted(names(ast.parse(source))) == ["Any", "C", "D", "Text"]
