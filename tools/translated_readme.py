"""Tells which sections of README.md have changed since README.ko.md was translated from it.

    python tools/translated_readme.py           # lists them; exit status 1 if there are any
    python tools/translated_readme.py --done    # the translation has been brought up to date

The end of the translation has a digest of each section of README.md, as it was then.
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ORIGINAL = ROOT / "README.md"
TRANSLATION = ROOT / "README.ko.md"
RECORD = re.compile(r"\n<!-- translated from README\.md:\n(?P<lines>.*?)-->\n\Z", re.DOTALL)


def digests(text: str) -> dict[str, str]:
    """Return a digest of each section by its heading, in order."""
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return {
        section.partition("\n")[0].lstrip("# "): hashlib.sha256(section.encode()).hexdigest()[:12]
        for section in sections
        if section.strip()
    }


def recorded(translation: str) -> dict[str, str]:
    """Return the digests that the translation was made from; none if it does not say."""
    record = RECORD.search(translation)
    lines = record["lines"].splitlines() if record else []
    return {heading: digest for digest, heading in (line.split(" ", 1) for line in lines)}


def changes(original: str, translation: str) -> list[str]:
    """Return a line for each section that is new, has changed or has gone."""
    now, then = digests(original), recorded(translation)
    return [
        *(f"new: {heading}" for heading in now if heading not in then),
        *(f"changed: {heading}" for heading in now if then.get(heading, now[heading]) != now[heading]),
        *(f"gone: {heading}" for heading in then if heading not in now),
    ]


def with_record(original: str, translation: str) -> str:
    """Return the translation with the digests of the original at its end."""
    lines = "".join(f"{digest} {heading}\n" for heading, digest in digests(original).items())
    return f"{RECORD.sub('', translation).rstrip()}\n\n<!-- translated from README.md:\n{lines}-->\n"


def main() -> int:
    """List what has changed, or record that the translation is up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--done", action="store_true", help="record that the translation is up to date")
    arguments = parser.parse_args()
    original, translation = ORIGINAL.read_text(encoding="utf-8"), TRANSLATION.read_text(encoding="utf-8")
    if arguments.done:
        TRANSLATION.write_text(with_record(original, translation), encoding="utf-8")
        return 0
    outdated = changes(original, translation)
    print("\n".join(outdated) or f"{TRANSLATION.name} is up to date.")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
