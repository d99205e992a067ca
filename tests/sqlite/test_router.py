"""The router among Django's own ways and other routers."""

import io
import json

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connections, router
from django.db.migrations.state import ProjectState
from django.db.models.signals import pre_migrate
from django.test import override_settings

from django_rwrouter import routing_scope, use_replica
from django_rwrouter.testing import capture_routing
from tests.app.models import Author, Book, Tag
from tests.sqlite.conftest import REPLICAS, reason, replicate

OURS = "django_rwrouter.router.ReadWriteRouter"


class TagsElsewhere:
    """A router of the project: tags are in another database."""

    def db_for_read(self, model, **hints):
        return "other" if model is Tag else None

    db_for_write = db_for_read


class Silent:
    """A router without an opinion, and without most methods."""

    def db_for_read(self, model, **hints):
        return None


# --- other routers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routers", "alias"),
    [
        ([f"{__name__}.TagsElsewhere", OURS], "other"),
        ([OURS, f"{__name__}.TagsElsewhere"], "default"),
        ([f"{__name__}.Silent", OURS], "default"),
    ],
    ids=["before", "after", "silent"],
)
def test_the_first_router_with_an_opinion_decides(databases, settings, routers, alias):
    settings.DATABASE_ROUTERS = routers
    assert router.db_for_write(Tag) == alias
    with routing_scope(safe=True):
        assert router.db_for_read(Tag) in ({"other"} if alias == "other" else set(REPLICAS))
        assert router.db_for_read(Book) in REPLICAS


def test_what_is_not_ours_is_left_to_the_routers_behind_us(databases, settings):
    settings.RWROUTER = {"CLUSTERS": {"people": {"REPLICAS": ["replica1"], "MODELS": ["auth"]}}}
    settings.DATABASE_ROUTERS = [OURS, f"{__name__}.TagsElsewhere"]
    with routing_scope(safe=True):
        assert [router.db_for_read(model) for model in (Tag, Book)] == ["other", "default"]
    assert [router.db_for_write(model) for model in (Tag, Book)] == ["other", "default"]


def test_a_write_that_another_router_sends_elsewhere_pins_nobody(site, settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.TagsElsewhere", OURS]
    assert site.get(lambda _request: (Tag.objects.create(name="x"), reason())[1]).text == "window"
    assert not site.client.cookies


# --- .using() ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["default", "replica1", "replica2", "other"])
def test_a_database_that_is_named_is_used(site, alias):
    def view(_request):
        with capture_routing() as decisions:
            found = list(Book.objects.using(alias)), Book.objects.using(alias).count()
        return found, decisions

    assert site.get(view).text == "(([], 0), [])"


def test_naming_the_primary_makes_no_request_follow_it(site):
    """It is not a read that the rules sent there."""

    def view(_request):
        Author.objects.using("default").count()
        return reason()

    assert site.get(view).text == "window"


# --- hints -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "expected"),
    [("other", "other"), ("gone", "replica1"), (None, "replica1"), ("replica2", "replica1")],
)
def test_an_instance_of_a_database_that_is_not_ours_is_not_ours_to_route(
    databases, settings, alias, expected
):
    """One of a database that is in no setting any more (out of a cache) is as one of none."""
    settings.RWROUTER = {"REPLICAS": ["replica1", "replica2"], "BALANCER": f"{__name__}.First"}
    author = Author(name="x")
    author._state.db = alias
    with routing_scope(safe=True):
        assert router.db_for_read(Book, instance=author) == expected
    expected = "default" if expected == "replica1" else expected
    assert router.db_for_write(Book, instance=author) == expected


class First:
    def choose(self, replicas):
        return replicas[0]


def test_unknown_hints_are_ignored(databases):
    assert router.db_for_read(Book, instance=None, colour="red") == "default"
    assert router.db_for_write(Book, colour="red") == "default"


# --- migrations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "expected"), [("default", True), ("replica1", False), ("replica2", False), ("other", True)]
)
@pytest.mark.parametrize("label", ["app", "auth", "django_rwrouter", "not_installed"])
@pytest.mark.parametrize("model_name", [None, "book", "Book"])
def test_migrations_run_on_the_primary_alone(alias, expected, label, model_name):
    assert router.allow_migrate(alias, label, model_name=model_name) is expected
    assert router.allow_migrate(alias, label, hint="of RunSQL") is expected


def test_a_dump_of_a_replica_has_its_rows(databases):
    Tag.objects.create(name="replicated")
    replicate("replica1")
    Tag.objects.create(name="not yet")
    out = io.StringIO()
    call_command("dumpdata", "app.Tag", database="replica1", stdout=out)
    assert [row["fields"]["name"] for row in json.loads(out.getvalue())] == ["replicated"]


@pytest.mark.parametrize("session", [True, False], ids=["read-only", "not read-only"])
@pytest.mark.parametrize("alias", REPLICAS)
@pytest.mark.parametrize("command", ["migrate", "flush", "loaddata"])
def test_what_would_write_to_a_replica_is_refused(databases, tmp_path, settings, command, alias, session):
    settings.RWROUTER = {**settings.RWROUTER, "READ_ONLY_SESSIONS": session}
    connections[alias].close()  # The next session is as the setting says.
    Tag.objects.create(name="there")
    replicate()
    fixture = tmp_path / "tags.json"
    fixture.write_text('[{"model": "app.tag", "pk": 9, "fields": {"name": "loaded"}}]')
    arguments = [str(fixture)] if command == "loaddata" else ["--no-input"]
    expected = f"'{alias}' is a replica, to which `{command}` must not write. Use --database=default"
    with pytest.raises(CommandError, match=expected) as caught:
        call_command(command, *arguments, database=alias, verbosity=0)
    assert "\n" not in str(caught.value)
    assert [tag.name for tag in Tag.objects.using(alias)] == ["there"]
    connections[alias].close()  # Nor does another test get one that may write.


def test_a_replica_with_a_test_database_of_its_own_is_made_without_tables(databases, monkeypatch):
    """To which nothing is replicated (a warning says so): tests must run all the same."""
    monkeypatch.setitem(connections["replica1"].settings_dict["TEST"], "MIRROR", None)
    assert not router.allow_migrate_model("replica1", Book)
    pre_migrate.send(sender=None, using="replica1")


@pytest.mark.parametrize("change", [{}, {"OUTSIDE_REQUEST": "replica"}, {"CONSISTENCY": "eventual"}], ids=str)
def test_a_historical_model_of_a_migration_is_read_from_the_primary(databases, settings, change):
    settings.RWROUTER = {**settings.RWROUTER, **change}
    historical = ProjectState.from_apps(apps).apps.get_model("app", "Book")
    historical.objects.create(title="new")
    assert historical.objects.count() == 1
    assert reason(historical) == "migration"
    with routing_scope(safe=True), use_replica():
        assert reason(historical) == "migration"


# --- wrong settings ------------------------------------------------------------------------------------


def test_a_wrong_setting_is_told_where_it_first_matters(databases):
    wrong = override_settings(RWROUTER={"REPLICA": ["replica1"]})
    with wrong, pytest.raises(ImproperlyConfigured, match=r"'REPLICA'.*'REPLICAS'"):
        router.db_for_read(Book)
    assert router.db_for_read(Book) == "default"
