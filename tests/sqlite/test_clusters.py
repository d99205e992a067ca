"""Several clusters: each has its own primary, its replicas and its memory of writes."""

import pytest
from django.contrib.auth.models import Group, User
from django.db import connections, router, transaction

from django_rwrouter import (
    consistency,
    current_token,
    mark_written,
    read_connection,
    routing_scope,
    use_primary,
    use_replica,
)
from tests.app.models import AuditProxy, Author, Book, Tag
from tests.sqlite.conftest import ask, reason


@pytest.fixture(autouse=True)
def two_clusters(databases, settings):
    """The library on default and replica1; users on other and replica2."""
    settings.RWROUTER = {
        "CLUSTERS": {
            "library": {"PRIMARY": "default", "REPLICAS": ["replica1"], "PIN_SECONDS": 50},
            "people": {"PRIMARY": "other", "REPLICAS": ["replica2"], "MODELS": ["auth", "app.AuditRow"]},
        }
    }


def both(_request=None):
    return f"{reason()} {reason(User)}"


def test_each_model_goes_to_its_own_cluster(site):
    def view(_request):
        return ask().alias, ask(User).alias, router.db_for_write(Book), router.db_for_write(User)

    assert site.get(view).text == "('replica1', 'replica2', 'default', 'other')"


def test_many_to_many_tables_and_proxies_follow_their_models():
    assert router.db_for_write(User.groups.through) == "other"
    assert router.db_for_write(Book.tags.through) == "default"
    assert router.db_for_write(AuditProxy) == "other"


def test_a_write_to_one_does_not_move_the_reads_of_the_other(site):
    def view(_request):
        Group.objects.create(name="new")
        return both()

    assert site.get(view).text == "window wrote_in_scope"
    assert site.get(both).text == "window pinned"


def test_the_token_carries_both(site):
    site.post(lambda _request: Group.objects.create(name="new"))
    site.post(lambda _request: Tag.objects.create(name="new"))
    assert site.get(both).text == "pinned pinned"
    assert site.client.cookies["rwrouter"]["max-age"] == 50


def test_each_has_its_own_pin(site, settings):
    clusters = settings.RWROUTER["CLUSTERS"]
    people = clusters["people"] | {"PIN_SECONDS": 0.000001}
    site.post(lambda _request: (Group.objects.create(name="new"), Tag.objects.create(name="new")))
    settings.RWROUTER = {"CLUSTERS": clusters | {"people": people}}
    assert site.get(both).text == "pinned window"


@pytest.mark.parametrize("monotonic", [False, True])
def test_a_cluster_that_is_renamed_in_the_middle_of_a_request_is_no_error(site, settings, monotonic):
    def view(_request):
        Group.objects.create(name="new")
        clusters = settings.RWROUTER["CLUSTERS"]
        users = clusters["people"] | {"MONOTONIC_READS": monotonic}
        settings.RWROUTER = {"CLUSTERS": {"library": clusters["library"], "users": users}}
        return "answered"

    assert site.get(view).text == "answered"
    assert site.get(both).text == "window window"


def test_a_transaction_of_one_does_not_move_the_other(site):
    def view(_request):
        with transaction.atomic(using="other"):
            return both()

    assert site.get(view).text == "window in_transaction"


@pytest.mark.parametrize("site", ["wsgi", "asgi"], indirect=True)
@pytest.mark.parametrize("alias", ["default", "other"])
def test_atomic_requests_of_either(site, alias, monkeypatch):
    monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    assert site.get(both).text == "window window"
    assert (
        site.post(both).text
        == {
            "default": "in_transaction unsafe_method",
            "other": "unsafe_method in_transaction",
        }[alias]
    )


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (use_primary(cluster="people"), "window use_primary"),
        (use_replica(cluster="people"), "window use_replica"),
        (consistency("eventual", cluster="library"), "eventual window"),
        (use_primary(), "use_primary use_primary"),
    ],
    ids=["use_primary", "use_replica", "consistency", "both"],
)
def test_a_block_may_speak_of_one(site, block, expected):
    assert site.get(block(both)).text == expected


def test_blocks_of_both_nest(site):
    @use_replica(cluster="people")
    @use_primary(cluster="library")
    @consistency("eventual")
    def view(_request):
        return both()

    def other_way_round(_request):
        with consistency("eventual"), use_primary(cluster="library"), use_replica(cluster="people"):
            return both()

    assert site.get(view).text == "eventual eventual"
    assert site.get(other_way_round).text == "use_primary use_replica"


def test_raw_connections_and_marks_name_their_cluster(site):
    def view(_request):
        before = read_connection("people").alias
        mark_written("people")
        return before, read_connection("people").alias, read_connection("library").alias

    assert site.get(view).text == "('replica2', 'other', 'replica1')"
    for ask_for in (read_connection, mark_written):
        with pytest.raises(ValueError, match="'library', 'people'"):
            ask_for()  # there is none called "default"


def test_tokens_of_scopes_carry_both():
    with routing_scope():
        User.objects.create(username="ann")
        token = current_token()
    with routing_scope(safe=True, token=token):
        assert both() == "window pinned"


def test_objects_of_different_clusters_are_not_related_by_us():
    book, user = Book(title="x"), User(username="x")
    book._state.db, user._state.db = "default", "other"
    assert not router.allow_relation(book, user)
    user._state.db = "replica1"
    assert router.allow_relation(book, user)


def test_an_object_of_the_other_cluster_says_nothing_about_this_one(site):
    def view(_request):
        with use_primary():
            Book.objects.count()
        stranger = Author(pk=1, name="x")
        stranger._state.db = "other"
        return router.db_for_read(Book, instance=stranger)

    assert site.get(view).text == "replica1"


@pytest.mark.parametrize(
    ("alias", "app_label", "model_name", "expected"),
    [
        ("default", "app", "book", True),
        ("default", "auth", "user", False),
        ("other", "auth", "user", True),
        ("other", "app", "book", False),
        ("other", "app", "auditrow", True),
        ("other", "app", None, True),  # a part of it is here
        ("other", "sessions", None, False),
        ("replica1", "app", "book", False),
        ("replica2", "auth", "user", False),
    ],
)
def test_each_model_is_migrated_on_its_own_primary(alias, app_label, model_name, expected):
    assert router.allow_migrate(alias, app_label, model_name=model_name) is expected


def test_many_to_many_tables_are_migrated_where_their_model_is():
    assert router.allow_migrate_model("other", User.groups.through)
    assert not router.allow_migrate_model("default", User.groups.through)
    assert not router.allow_migrate_model("other", Book.tags.through)
