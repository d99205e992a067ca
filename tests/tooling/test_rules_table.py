"""The docs show the rules that the engine runs."""

from tools.rules_table import PAGE, page


def test_the_page_has_the_engines_rules():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python tools/rules_table.py --write`"
