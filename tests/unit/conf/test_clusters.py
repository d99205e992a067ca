"""Which databases there are, and which cluster serves which model."""

import gc
import weakref
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.core.cache.backends.db import DatabaseCache
from django.db.migrations.state import ProjectState

from django_rwrouter.conf import read
from django_rwrouter.conf.clusters import Topology, get_topology
from django_rwrouter.conf.model_labels import label_of
from django_rwrouter.decision import Reason
from django_rwrouter.stats.table import RoutingStatistics
from tests.app.models import AuditProxy, AuditRow, Author, Book, Comic, DeviceSession, Note, Tag

DATABASES = ("default", "r1", "blog", "r2", "logs")


def topology_of(**setting):
    settings, problems = read(setting, DATABASES)
    assert problems == []
    return Topology(settings)


def clusters(**models):
    """Make the clusters "shop" (default, r1), "blog" (blog, r2) and "logs" (logs), with these MODELS."""
    shapes = {
        "shop": {"PRIMARY": "default", "REPLICAS": ["r1"]},
        "blog": {"PRIMARY": "blog", "REPLICAS": ["r2"]},
        "logs": {"PRIMARY": "logs"},
    }
    return topology_of(
        CLUSTERS={
            name: shape | ({"MODELS": models[name]} if models[name] else {})
            for name, shape in shapes.items()
            if name in models
        }
    )


def name_of(model, topology):
    route = topology.route(model)
    return None if route is None else route.cluster.name


# --- one cluster -----------------------------------------------------------------------------------


def test_one_cluster_takes_every_model():
    topology = topology_of(REPLICAS=["r1"])
    for model in (Book, Book.tags.through, User, Session, LogEntry):
        assert name_of(model, topology) == "default"
    assert {alias: cluster.name for alias, cluster in topology.by_alias.items()} == {
        "default": "default",
        "r1": "default",
    }


def test_a_route_is_made_once():
    topology = topology_of(REPLICAS=["r1"])
    assert topology.route(Book) is topology.route(Book)


@pytest.mark.parametrize(
    ("setting", "inert"),
    [
        ({}, True),
        ({"PIN_SECONDS": 9}, True),
        ({"REPLICAS": []}, True),
        ({"PRIMARY": "blog"}, False),
        ({"REPLICAS": ["r1"]}, False),
        ({"ENABLED": False, "REPLICAS": ["r1"]}, False),
        ({"CLUSTERS": {"a": {"PRIMARY": "default"}}}, True),
        ({"CLUSTERS": {"a": {"MODELS": ["auth"]}, "b": {"PRIMARY": "blog"}}}, False),
    ],
    ids=str,
)
def test_without_anything_configured_nothing_is_ours(setting, inert):
    topology = topology_of(**setting)
    assert topology.inert is inert
    assert bool(topology.by_alias) is not inert
    assert (topology.route(Book) is None) is inert


# --- several clusters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (
            {"shop": None, "blog": ["app"]},
            {Book: "blog", Book.tags.through: "blog", User: "shop", Comic: "blog"},
        ),
        (
            {"shop": None, "blog": ["app.Book"]},
            {Book: "blog", Book.tags.through: "blog", Tag: "shop", Comic: "shop"},
        ),
        ({"shop": ["app.Tag"], "blog": ["app"]}, {Tag: "shop", Book: "blog", User: None}),
        (
            {"shop": None, "blog": ["auth"], "logs": ["auth.Group", "admin"]},
            {
                User: "blog",
                Group: "logs",
                User.groups.through: "blog",
                LogEntry: "logs",
                Session: "shop",
            },
        ),
        ({"shop": None, "blog": ["APP.bOOK"]}, {Book: "blog"}),
        ({"shop": ["auth"], "blog": ["app"]}, {Session: None, ContentType: None}),
    ],
    ids=str,
)
def test_a_model_beats_its_app_and_one_cluster_takes_the_rest(models, expected):
    topology = clusters(**models)
    assert {model: name_of(model, topology) for model in expected} == expected


def test_a_proxy_is_in_the_cluster_of_its_table():
    assert name_of(AuditProxy, clusters(shop=None, blog=["app.AuditRow"])) == "blog"


def test_each_alias_has_its_cluster():
    topology = clusters(shop=None, blog=["app"], logs=["auth"])
    assert {alias: cluster.name for alias, cluster in topology.by_alias.items()} == {
        "default": "shop",
        "r1": "shop",
        "blog": "blog",
        "r2": "blog",
        "logs": "logs",
    }


@pytest.mark.parametrize(
    ("app_label", "model_name", "names"),
    [
        ("app", "book", {"logs"}),
        ("app", "tag", {"blog"}),
        ("app", None, {"blog", "logs"}),
        ("auth", "user", {"shop"}),
        ("auth", None, {"shop"}),
        ("admin", "logentry", {"shop"}),
        ("admin", None, {"shop", "logs"}),
    ],
)
def test_a_migration_of_an_app_is_for_all_who_take_a_part_of_it(app_label, model_name, names):
    topology = clusters(shop=None, blog=["app"], logs=["app.Book", "admin.Other"])
    assert {cluster.name for cluster in topology.owners(app_label, model_name)} == names


def test_a_cluster_that_is_not_there():
    topology = clusters(shop=None, blog=["app"])
    for ask in (topology.check_cluster, topology.raw_route):
        with pytest.raises(ValueError, match=r"no cluster 'sohp' .* mean 'shop'\?"):
            ask("sohp")


# --- always the primary ----------------------------------------------------------------------------


class AnotherSession(AbstractBaseSession):
    class Meta:
        app_label = "tests_only"
        managed = False


class DatabaseCacheTable:
    """What the database cache shows to routers."""

    model = DatabaseCache("cache_table", {}).cache_model_class


@pytest.fixture(autouse=True, scope="module")
def forget_the_model_of_this_file():
    yield
    apps.all_models["tests_only"].clear()
    apps.clear_cache()


@pytest.mark.parametrize(
    "model",
    [Session, AnotherSession, ContentType, RoutingStatistics, DatabaseCacheTable.model],
    ids=lambda model: model.__name__,
)
def test_some_models_are_always_read_from_the_primary(model):
    assert topology_of(REPLICAS=["r1"]).route(model).fixed is Reason.PRIMARY_ONLY


@pytest.mark.parametrize(
    ("primary_only", "model", "fixed"),
    [
        (["app"], Book, True),
        (["app"], Book.tags.through, True),
        (["app.Book"], Book, True),
        (["app.Book"], Book.tags.through, True),
        (["APP.BOOK"], Book, True),
        (["app.Book"], Tag, False),
        (["app.Tag"], Book.tags.through, False),
        (["app.AuditRow"], AuditProxy, True),
        (["app.Book"], Comic, True),
        (["app.Comic"], Book, False),
        (["auth"], User.user_permissions.through, True),
        (["auth"], Book, False),
        ([], Book, False),
    ],
    ids=str,
)
def test_primary_only_names_models_and_apps(primary_only, model, fixed):
    route = topology_of(REPLICAS=["r1"], PRIMARY_ONLY=primary_only).route(model)
    assert (route.fixed is Reason.PRIMARY_ONLY) is fixed


def test_the_tables_whose_writes_pin_nobody(settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "cache_table",
        },
        "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "x"},
    }
    always = {"django_session", "django_content_type", RoutingStatistics._meta.db_table, "cache_table"}
    tables = topology_of(REPLICAS=["r1"]).primary_only_tables
    assert always <= tables
    assert {"app_book", "x"}.isdisjoint(tables)

    named = topology_of(REPLICAS=["r1"], PRIMARY_ONLY=["app.Book", "app.AuditRow"]).primary_only_tables
    assert named - tables == {"app_book", "app_book_tags", "app_comic", "app_auditrow"}


def test_a_table_that_another_model_shows_too_is_not_among_them():
    """The other model's reads may go to a replica: they must not miss what was written."""
    topology = topology_of(REPLICAS=["r1"], PRIMARY_ONLY=["app.AuditProxy"])
    assert topology.route(AuditProxy).fixed is Reason.PRIMARY_ONLY
    assert topology.route(AuditRow).fixed is None
    assert "app_auditrow" not in topology.primary_only_tables


def test_historical_models_are_known_and_never_kept():
    """A migration makes them anew each time: keeping them would keep them in memory."""
    topology = topology_of(REPLICAS=["r1"])
    historical = ProjectState.from_apps(apps).apps
    book = historical.get_model("app", "Book")
    assert topology.route(book).fixed is Reason.MIGRATION
    assert topology.route(book.tags.through).fixed is Reason.MIGRATION
    assert label_of(book.tags.through) == ("app", "book")
    assert topology.route(historical.get_model("sessions", "Session")).fixed is Reason.MIGRATION
    assert topology._routes == {}


def test_the_stand_ins_of_the_database_cache_are_not_kept():
    """Django makes one for each instance, and an instance for each thread or request."""
    topology = topology_of(REPLICAS=["r1"])
    cache = DatabaseCache("cache_table", {})
    model = weakref.ref(cache.cache_model_class)
    topology.route(model())
    del cache
    gc.collect()
    assert model() is None


# --- the topology in force -------------------------------------------------------------------------


def test_it_is_made_anew_when_the_setting_changes(settings):
    before = get_topology()
    assert get_topology() is before
    settings.RWROUTER = {"REPLICAS": ["replica2"]}
    assert [replica.alias for replica in get_topology().clusters["default"].replicas] == ["replica2"]
    settings.USE_TZ = not settings.USE_TZ
    assert get_topology() is get_topology()


@pytest.mark.parametrize(("enabled", "expected"), [(True, (True, False)), (False, (False, False))])
def test_the_switch(enabled, expected):
    cluster = topology_of(REPLICAS=["r1"], ENABLED=enabled).clusters["default"]
    assert (cluster.enabled, cluster.shadow) == expected


def test_shadow():
    cluster = topology_of(REPLICAS=["r1"], ENABLED="shadow").clusters["default"]
    assert (cluster.enabled, cluster.shadow) == (True, True)


def test_a_mark_lives_as_long_as_its_clusters_pin():
    topology = topology_of(
        PIN_SECONDS=3,
        TOKEN_SECONDS=60,
        CLUSTERS={"a": {"MODELS": ["auth"]}, "b": {"PRIMARY": "blog", "PIN_SECONDS": 7}},
    )
    assert topology.lifetimes == {"a": (3.0, 60.0), "b": (7.0, 60.0)}


def test_models_of_the_tests_have_the_labels_used_here():
    assert [label_of(model) for model in (Author, AuditRow, Note, Book.tags.through)] == [
        ("app", "author"),
        ("app", "auditrow"),
        ("app", "note"),
        ("app", "book"),
    ]


def test_the_sites_framework_is_always_read_from_the_primary():
    """It keeps its rows for the life of the process."""
    meta = SimpleNamespace(app_label="sites", model_name="site", db_table="django_site")
    of_django = type("Site", (), {"__module__": "django.contrib.sites.models", "_meta": meta})
    of_somebody = type("Site", (), {"__module__": "shop.sites.models", "_meta": meta})
    assert topology_of(REPLICAS=["r1"]).route(of_django).fixed is Reason.PRIMARY_ONLY
    assert topology_of(REPLICAS=["r1"]).route(of_somebody).fixed is None


@pytest.mark.parametrize(
    ("engine", "fixed"),
    [
        ("tests.app.device_sessions", Reason.PRIMARY_ONLY),
        ("django.contrib.sessions.backends.cache", None),
        ("nowhere", None),
    ],
)
def test_the_model_of_the_session_engine_is_always_read_from_the_primary(settings, engine, fixed):
    settings.SESSION_ENGINE = engine
    assert topology_of(REPLICAS=["r1"]).route(DeviceSession).fixed is fixed
