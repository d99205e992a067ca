"""``manage.py rwrouter`` on SQLite, which has no positions; tests/servers/mariadb asks real ones."""

import io
import json
import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_rwrouter.management.subcommands import status

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


def test_a_fault_of_its_own_is_no_mistake_of_the_users(monkeypatch):
    """Its traceback is wanted."""
    monkeypatch.setattr(status, "overview", lambda **_options: int("no number"))
    with pytest.raises(ValueError, match="no number"):
        call_command("rwrouter", "status")


@pytest.mark.parametrize("arguments", [["status"], ["doctor"], ["explain", "app.Book"]], ids="".join)
def test_a_reader_that_has_seen_enough_is_no_error(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "django", "rwrouter", *arguments]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(Path.cwd())}
    process = Popen(command, stdout=writing, stderr=PIPE, env=environment, text=True)
    os.close(writing)
    _output, errors = process.communicate(timeout=120)
    assert (errors, process.returncode) == ("", 1)


def test_a_terminal_without_all_letters_shows_what_it_has(settings):
    settings.LANGUAGE_CODE = "ko"
    output = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
    call_command("rwrouter", "explain", "app.Book", stdout=output)
    assert rb"\u" in raw.getvalue()
