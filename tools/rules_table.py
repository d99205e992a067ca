"""Writes the table of rules in docs/how-it-decides.md, from the list that the engine runs.

python tools/rules_table.py           # exit status 1 if the page has another table
python tools/rules_table.py --write   # puts it there

A rule is one entry of that list; its words are what ``explain`` says.
"""

import argparse
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from django.conf import settings  # noqa: E402

if not settings.configured and "DJANGO_SETTINGS_MODULE" not in os.environ:
    settings.configure(USE_I18N=False)

from django_rwrouter.routing.rules import RULES, Rule  # noqa: E402

PAGE = ROOT / "docs" / "how-it-decides.md"
TABLE = re.compile(r"(?<=<!-- rules, by tools/rules_table\.py -->\n).*?(?=<!-- end of rules -->)", re.DOTALL)
CODE = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bENABLED\b|\b[a-z_]+\(\)|“[a-z]+”")
EXAMPLES = {
    "level": "strong",
    "max_lag": "5",
    "max_staleness": "2",
    "method": "POST",
    "outside_request": "primary",
    "pin_seconds": "5",
    "token_age": "1.5",
}


def row(number: int, rule: Rule) -> str:
    """Return a rule's row: when it applies, what it demands, and the reasons of its decisions."""
    text = CODE.sub(lambda match: f"`{match[0].strip('“”')}`", str(rule.text % EXAMPLES))
    reasons = ", ".join(f"`{reason.value}`" for reason in rule.reasons)
    return f"| {number} | {rule.title} | {text} | {rule.demand.value} | {reasons} |\n"


def page() -> str:
    """Return the page as it should be."""
    head = "| # | rule | why it applies | who may answer | reason |\n|---|---|---|---|---|\n"
    table = head + "".join(row(number, rule) for number, rule in enumerate(RULES, 1))
    return TABLE.sub(lambda _: table, PAGE.read_text(encoding="utf-8"))


def main() -> int:
    """Compare the page with the rules, or write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    if parser.parse_args().write:
        PAGE.write_text(page(), encoding="utf-8")
    return int(page() != PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
