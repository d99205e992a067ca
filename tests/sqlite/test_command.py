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
    ("settings", "message"),
    [
        pytest.param({"PIN_SECOND": 5}, "manage.py check", id="settings that are wrong"),
        pytest.param({}, "--timeout must be more than 0", id="no patience"),
    ],
)
def test_it_says_what_it_cannot_work_with(settings, message):
    with (
        override_settings(RWROUTER={"REPLICAS": ["replica1"], **settings}),
        pytest.raises(CommandError, match=message),
    ):
        call_command("rwrouter", "doctor", "--timeout", "0")


def test_a_subcommand_is_needed():
    with pytest.raises(CommandError, match="SUBCOMMAND"):
        call_command("rwrouter")
