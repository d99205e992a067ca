"""What was decided for a read holds until its statement comes; then the cursor judges again."""

import pytest

from django_rwrouter import read_connection, routing_scope, use_replica
from django_rwrouter.testing import assert_no_stale_reads, capture_routing
from tests.app.models import AuditRow, Author, Book, Profile
from tests.sqlite.conftest import replicate


@pytest.fixture
def profiles_on_primary(databases, settings):
    """A table that is read from the primary only, with a row that no replica has as it is now."""
    settings.RWROUTER = {**settings.RWROUTER, "PRIMARY_ONLY": ["app.Profile"]}
    Profile.objects.create(author=Author.objects.create(name="ann"), text="old")
    replicate()
    Profile.objects.update(text="new")


def texts_read_raw():
    with read_connection().cursor() as cursor:
        cursor.execute("SELECT text FROM app_author JOIN app_profile ON author_id = app_author.id")
        return cursor.fetchall()


JOINS = {
    "select_related": lambda: Author.objects.select_related("profile").get().profile.text == "new",
    "a filter": lambda: Author.objects.filter(profile__text="new").exists(),
    "a subquery": lambda: Author.objects.filter(
        pk__in=Profile.objects.filter(text="new").values("author")
    ).exists(),
    "an iterator": lambda: [*Author.objects.filter(profile__text="new").iterator()] != [],
    "raw()": lambda: (
        [
            *Author.objects.raw(
                "SELECT a.* FROM app_author a, app_profile p WHERE author_id = a.id AND text = 'new'"
            )
        ]
        != []
    ),
    "a cursor of read_connection()": lambda: texts_read_raw() == [("new",)],
}


@pytest.mark.parametrize("read", JOINS.values(), ids=JOINS)
def test_a_table_of_the_primary_is_read_there_by_whatever_joins_it(profiles_on_primary, read):
    with routing_scope(safe=True), capture_routing() as decisions:
        assert read()
    assert {(decision.alias, decision.reason.value) for decision in decisions} == {
        ("default", "primary_only")
    }


def test_a_block_for_replicas_does_not_change_that(profiles_on_primary):
    with routing_scope(), use_replica(strict=True):
        assert Author.objects.select_related("profile").get().profile.text == "new"


def test_the_models_own_reads_stay_on_replicas(profiles_on_primary):
    with routing_scope(safe=True), capture_routing() as decisions:
        Author.objects.filter(profile__text="new").exists()
        Author.objects.get()
    assert [decision.reason.value for decision in decisions] == ["primary_only", "window"]


def test_a_replica_that_the_code_names_is_obeyed(profiles_on_primary):
    with routing_scope(safe=True):
        assert Author.objects.using("replica1").select_related("profile").get().profile.text == "old"


def write_and_read_by_name():
    Profile.objects.update(text="newer")
    Author.objects.using("replica1").select_related("profile").get()


def test_the_auditor_sees_such_a_table_read_from_a_replica(profiles_on_primary):
    with (
        pytest.raises(AssertionError, match="app_profile"),
        assert_no_stale_reads(),
        routing_scope(safe=True),
    ):
        write_and_read_by_name()


def test_djangos_own_tables_are_not_meant_when_merely_joined(databases):
    with routing_scope(safe=True), capture_routing() as decisions:
        AuditRow.objects.count()
        Book.objects.extra(tables=["django_content_type"]).count()
    assert [decision.reason.value for decision in decisions] == ["window", "window"]
