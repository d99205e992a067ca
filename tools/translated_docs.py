"""Tells which paragraphs of the translated pages of docs/ are new, have changed or have gone.

    python tools/translated_docs.py             # lists them; exit status 1 if there are any
    python tools/translated_docs.py --update    # brings the catalogues in step, for somebody to translate

The catalogues are ``docs/locale/*/LC_MESSAGES/PAGE.po``; a page without one stays in English. A paragraph
that has changed is one that has gone and one that is new: no old translation is kept as a guess ("fuzzy").
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "docs" / "locale"
CODE = re.compile(r"`[^`]*`")
HEADER = 'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'


def read(path: Path) -> dict[str, str]:
    """Return the translations of a catalogue, in its order; of code alone there is nothing to translate."""
    with path.open("rb") as file:
        return {
            message.id: str(message.string)
            for message in read_po(file)
            if isinstance(message.id, str)
            and re.search(r"[^\W\d_]", CODE.sub("", message.id))
            and not message.fuzzy
        }


def write(path: Path, translations: dict[str, str]) -> None:
    """Write a catalogue without what changes by itself: times, places and who wrote it."""
    catalog = Catalog()
    for original, translation in translations.items():
        catalog.add(original, translation)
    with path.open("wb") as file:
        file.write(HEADER.format(language=path.parent.parent.name).encode())
        write_po(file, catalog, omit_header=True, width=100)


def changes(now: dict[str, str], translations: dict[str, str]) -> list[str]:
    """Return a line for each paragraph that has no translation, or is in the catalogue alone."""
    return [
        *(f"to translate: {original}" for original in now if not translations.get(original)),
        *(f"gone: {original}" for original in translations if original not in now),
    ]


def originals(folder: Path) -> None:
    """Have Sphinx write the texts of all pages into a folder, as ``PAGE.pot``."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "-b", "gettext", ROOT / "docs", folder]
    subprocess.run(command, check=True)


def main() -> int:
    """List what is to be translated, or bring the catalogues in step with the pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="add what is new, and take out what has gone")
    arguments = parser.parse_args()
    outdated = False
    with tempfile.TemporaryDirectory() as folder:
        originals(Path(folder))
        for path in sorted(LOCALE.glob("*/LC_MESSAGES/*.po")):
            now, translations = read(Path(folder, f"{path.stem}.pot")), read(path)
            if arguments.update:
                translations = {original: translations.get(original, "") for original in now}
                write(path, translations)
            for line in changes(now, translations):
                print(f"{path.relative_to(ROOT)}: {line}")
                outdated = True
    if not outdated:
        print("The translated pages are up to date.")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
