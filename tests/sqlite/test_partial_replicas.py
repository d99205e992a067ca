"""Replicas that do not replicate everything (``EXCEPT``), or are late on purpose (``DELAYED``)."""

import sqlite3
from contextlib import closing

import pytest

from django_rwrouter import Reason, consistency, read_connection, routing_scope, use_replica
from tests.app.models import Author, Book, Profile
from tests.settings import DATABASES
from tests.sqlite.conftest import ask, replicate


def drawn(model, times=20):
    """Read in scopes of their own; return the databases that answered."""
    aliases = set()
    for _time in range(times):
        with routing_scope(safe=True):
            aliases.add(ask(model).alias)
    return aliases


@pytest.fixture
def profiles_only_on_replica2(databases, settings):
    """A table that replica1 does not replicate: its copy has no rows."""
    settings.RWROUTER = {"REPLICAS": {"replica1": {"EXCEPT": ["app.Profile"]}, "replica2": {}}}
    Profile.objects.create(author=Author.objects.create(name="ann"), text="new")
    replicate()
    with closing(sqlite3.connect(DATABASES["replica1"]["NAME"])) as copy, copy:
        copy.execute("DELETE FROM app_profile")


def test_a_replica_is_not_asked_for_what_it_does_not_replicate(profiles_only_on_replica2):
    assert drawn(Profile) == {"replica2"}
    assert drawn(Book) == {"replica1", "replica2"}


def joined():
    return Author.objects.filter(profile__text="new").exists()


def raw():
    with read_connection().cursor() as cursor:
        cursor.execute("SELECT text FROM app_profile")
        return cursor.fetchall() == [("new",)]


@pytest.mark.parametrize("read", [joined, raw])
def test_whatever_joins_the_table_is_read_from_another_replica(profiles_only_on_replica2, settings, read):
    for _time in range(10):
        with routing_scope(safe=True):
            assert read()
    settings.RWROUTER = {"REPLICAS": {"replica1": {"EXCEPT": ["app"]}}}
    with routing_scope(safe=True):
        assert read()


def test_an_explicit_replica_is_obeyed(profiles_only_on_replica2):
    with routing_scope(safe=True):
        assert not Profile.objects.using("replica1").exists()


def test_a_table_that_no_replica_has_is_read_from_the_primary(databases, settings):
    settings.RWROUTER = {"REPLICAS": {alias: {"EXCEPT": ["app"]} for alias in ("replica1", "replica2")}}
    with routing_scope(safe=True), use_replica():
        decision = ask(Book)
    assert (decision.alias, decision.reason) == ("default", Reason.NO_REPLICA)


@pytest.mark.parametrize(
    ("level", "aliases"),
    [
        ("eventual", {"replica1", "replica2"}),
        ("window", {"replica1"}),
        ("causal", {"replica1"}),
    ],
)
def test_a_replica_that_is_late_on_purpose(databases, settings, level, aliases):
    settings.RWROUTER = {"REPLICAS": {"replica1": {}, "replica2": {"DELAYED": True}}, "CONSISTENCY": level}
    assert drawn(Book) == aliases


def test_a_block_for_replicas_does_not_take_a_delayed_one(databases, settings):
    settings.RWROUTER = {"REPLICAS": {"replica2": {"DELAYED": True}}}
    with routing_scope(safe=True), use_replica():
        assert ask(Book).reason is Reason.NO_REPLICA
    with routing_scope(safe=True), consistency("eventual"):
        assert ask(Book).alias == "replica2"
