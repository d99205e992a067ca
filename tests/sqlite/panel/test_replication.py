"""The page "Replication" where there is nothing to see; tests/servers/products has it with real servers."""

import pytest

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_a_database_without_a_log_says_so(show):
    assert "This database has no positions in a log" in show("replication/").text


def test_nothing_is_configured(show, settings):
    settings.RWROUTER = {}
    assert "No replica is configured" in show("replication/").text
