"""``manage.py rwrouter`` on SQLite, which has no positions; tests/servers/mariadb asks real ones."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def doctor(**settings):
    output = io.StringIO()
    with override_settings(RWROUTER={"REPLICAS": ["replica1", "replica2"], **settings}):
        call_command("rwrouter", "doctor", "--json", stdout=output)
    return {(f["alias"], f["topic"], f["severity"]) for f in json.loads(output.getvalue())["findings"]}


def test_a_database_without_positions_is_in_order_under_window(databases):
    assert {severity for _alias, _topic, severity in doctor()} == {"ok"}


def test_and_a_warning_under_a_level_that_needs_them(databases):
    found = doctor(CONSISTENCY="causal")
    assert {alias for alias, topic, severity in found if (topic, severity) == ("position", "warning")} == {
        "replica1",
        "replica2",
    }


@pytest.mark.parametrize(
    ("subcommand", "argument"),
    [
        ("status", "--timeout"),
        ("status", "--watch"),
        ("status", "--minutes"),
        ("doctor", "--timeout"),
        ("explain", "--max-staleness"),
        ("explain", "--token-age"),
    ],
)
@pytest.mark.parametrize("value", ["inf", "nan", "-1", "1e300", "-inf", "soon", ""])
def test_what_is_no_time_is_refused(subcommand, argument, value):
    """Also where 0 would do: a token's age, and a bound."""
    model = ["app.Book"] if subcommand == "explain" else []
    with pytest.raises(CommandError, match=f"argument {argument}"):
        call_command("rwrouter", subcommand, *model, f"{argument}={value}")


def test_settings_that_are_wrong_are_left_to_the_check():
    settings = {"REPLICAS": ["replica1"], "PIN_SECOND": 5}
    with override_settings(RWROUTER=settings), pytest.raises(CommandError, match=r"manage\.py check"):
        call_command("rwrouter", "doctor")


def test_a_subcommand_is_needed():
    with pytest.raises(CommandError, match="SUBCOMMAND"):
        call_command("rwrouter")
