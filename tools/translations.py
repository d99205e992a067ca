"""Brings the translations up to date: finds all texts, of package and demo, and compiles what was translated.

    tools/translations.py [--check]

Texts that are new get an empty entry in each ``locale/*/LC_MESSAGES/django.po``; those that are gone are
taken out. The compiled catalogues beside them are committed, so that an installed package has them; with
``--check`` nothing is written, and whatever is missing, doubtful or out of date is an error. Needs Babel and
Django, and no gettext.
"""

import argparse
import ast
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
SITES = (ROOT / "django_rwrouter", ROOT / "testproject")
"""Folders with texts: the package, and the demonstration's site."""
SINGULAR = frozenset({"_", "gettext", "gettext_lazy", "gettext_noop"})
PLURAL = frozenset({"ngettext", "ngettext_lazy"})
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|\{\w*\}|%%")
IN_TEMPLATE = re.compile(
    r"\b(?P<name>ngettext|gettext|_)\(u?(?P<first>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")"
    r"(?:,\s*u?(?P<second>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Text:
    """A text that people see, and where."""

    path: str
    singular: str
    plural: str | None = None

    @property
    def key(self) -> str | tuple[str, str]:
        """What Babel names it by."""
        return self.singular if self.plural is None else (self.singular, self.plural)


def texts(site: Path) -> Iterator[Text]:
    """Return all texts of a folder, in the order of its files."""
    for path in sorted(site.rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py" and "migrations" not in path.parts:
            yield from _in_python(name, path.read_text(encoding="utf-8"))
        elif path.suffix == ".html":
            yield from _in_template(name, path.read_text(encoding="utf-8"))


def _in_python(path: str, source: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        words = [each.value for each in node.args if isinstance(each, ast.Constant)]
        if node.func.id in SINGULAR and words:
            yield Text(path, str(words[0]))
        elif node.func.id in PLURAL:
            yield Text(path, str(words[0]), str(words[1]))


def _in_template(path: str, source: str) -> Iterator[Text]:
    if not settings.configured:
        settings.configure()
    for match in IN_TEMPLATE.finditer(templatize(source)):
        second = match["second"] if match["name"] == "ngettext" else None
        plural = None if second is None else str(ast.literal_eval(second))
        yield Text(path, str(ast.literal_eval(match["first"])), plural)


def site_of(path: Path) -> Path:
    """Return the folder whose texts a catalogue translates; the package's, for a copy that is elsewhere."""
    return next((site for site in SITES if site in path.parents), SITES[0])


def template(site: Path) -> Catalog:
    """Return a catalogue of all texts of a folder, without any translation."""
    catalog = Catalog(charset="utf-8")
    for text in texts(site):
        catalog.add(text.key, locations=[(text.path, None)])
    return catalog


def catalogues() -> list[Path]:
    """Return the sources of all translations."""
    return [path for site in SITES for path in sorted(site.glob("locale/*/LC_MESSAGES/django.po"))]


def load(path: Path) -> Catalog:
    """Read a translation."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3])


def compiled(catalog: Catalog) -> bytes:
    """Return what programs read."""
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def update(path: Path) -> None:
    """Bring one translation up to date."""
    catalog = load(path)
    catalog.update(template(site_of(path)), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    # Its headers name people and dates, which change without need.
    body = io.BytesIO()
    write_po(body, catalog, width=100, include_lineno=False, omit_header=True)
    head = path.read_text(encoding="utf-8").partition("\n\n")[0]
    path.write_text(f"{head}\n\n{body.getvalue().decode().lstrip()}", encoding="utf-8")
    if not _is_compiled(path):
        path.with_suffix(".mo").write_bytes(compiled(load(path)))


def complaints(path: Path) -> Iterator[str]:
    """Return what is wrong with one translation."""
    catalog = load(path)
    found = {_key(message.id): message for message in catalog if message.id}
    wanted = {text.key: text for text in texts(site_of(path))}
    for key, text in wanted.items():
        message = found.get(key)
        if message is None:
            yield f"{text.path}: {text.singular!r} is not in it"
            continue
        strings = [message.string] if isinstance(message.string, str) else list(message.string)
        if message.fuzzy or not all(strings):
            yield f"{text.path}: {text.singular!r} is not translated"
        expected = sorted(PLACEHOLDER.findall(text.plural or text.singular))
        for string in strings:
            if string and sorted(PLACEHOLDER.findall(string)) != expected:
                yield f"{text.path}: {text.singular!r} has other placeholders in {string!r}"
    for key in found.keys() - wanted.keys():
        yield f"{key!r} is not a text of the package any more"
    if not _is_compiled(path):
        yield f"{path.with_suffix('.mo').name} is out of date"


def _is_compiled(path: Path) -> bool:
    """Whether the compiled catalogue says the same; it also has the time at which it was made."""
    binary = path.with_suffix(".mo")
    return binary.exists() and _pairs(binary.read_bytes()) == _pairs(compiled(load(path)))


def _key(id_: str | list[str] | tuple[str, ...]) -> object:
    return id_ if isinstance(id_, str) else tuple(id_)


def _pairs(binary: bytes) -> dict[object, object]:
    return {str(message.id): message.string for message in read_mo(io.BytesIO(binary)) if message.id}


def main() -> int:
    """Update all translations, or check them."""
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__ or "")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, and complain")
    if not parser.parse_args().check:
        for path in catalogues():
            update(path)
    found = [f"{path.relative_to(ROOT)}: {each}" for path in catalogues() for each in complaints(path)]
    print("\n".join(found) or "All translations are complete and up to date.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
