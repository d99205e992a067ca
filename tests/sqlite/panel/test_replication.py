"""The page "Replication" where there is nothing to see; tests/servers/products has it with real servers."""

import pytest

from django_rwrouter.admin.pages import replication
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations.replication import ClusterProgress, ReplicaProgress

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_a_database_without_a_log_says_so(show):
    assert "This database has no positions in a log" in show("replication/").text


def test_nothing_is_configured(show, settings):
    settings.RWROUTER = {}
    assert "No replica is configured" in show("replication/").text


def test_why_a_server_does_not_answer_is_a_sentence(show, monkeypatch):
    progress = ClusterProgress(
        cluster=get_topology().clusters["default"],
        has_positions=True,
        why="OperationalError 2002",
        replicas=(ReplicaProgress(alias="replica1", why="TimeoutError"),),
    )
    monkeypatch.setattr(replication, "ask_progress", lambda clusters: [progress])
    text = show("replication/").text
    assert "it does not answer refused the connection, or could not be reached (2002)" in text
    assert "it does not answer did not answer in time (TimeoutError)" in text
