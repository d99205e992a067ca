import re
import subprocess
import sys
from collections import Counter
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.sessions.middleware import SessionMiddleware
from django.core import checks
from django.core.management import CommandError, call_command

from django_rwrouter import blocks
from django_rwrouter.checks import inspection as checks_of_projects
from django_rwrouter.checks import installation
from django_rwrouter.checks import servers as checks_of_servers
from django_rwrouter.conf import DOCUMENTATION
from django_rwrouter.databases.postgresql import PostgreSQL
from django_rwrouter.decision import Level
from django_rwrouter.middleware import ReadWriteMiddleware
from django_rwrouter.operations.doctor import postgresql
from django_rwrouter.operations.doctor.examined_server import ExaminedServer
from django_rwrouter.router import ReadWriteRouter
from django_rwrouter.stores.session import SessionStore
from tests.settings import DATABASES

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests.sqlite.test_checks"

OURS = "django_rwrouter.middleware.ReadWriteMiddleware"
ROUTER = "django_rwrouter.router.ReadWriteRouter"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"

REPLICAS = ["replica1", "replica2"]


# --- parts of projects that tests name by their dotted path -------------------------------------


class OwnMiddleware(ReadWriteMiddleware):
    pass


class OwnSessionMiddleware(SessionMiddleware):
    pass


class OwnRouter(ReadWriteRouter):
    pass


class BrokenRouter:
    def __init__(self):
        raise ZeroDivisionError


class OtherRouter:
    def db_for_read(self, model, **hints):
        return None


class MigrationRouter:
    def allow_migrate(self, db, app_label, **hints):
        return None


class OwnSessionStore(SessionStore):
    pass


class StoreWithoutSave:
    def load(self, request):
        return ""


class BalancerWithoutChoose:
    pass


class StatisticsWithoutWrite:
    pass


class StatisticsThatConnect:
    def __init__(self):
        raise AssertionError("A check must not make a backend: it may connect to a server.")

    def write(self, process, rows):
        pass


# --- setting projects up ------------------------------------------------------------------------


def backend(vendor):
    return f"{vendor}_without_driver"


@pytest.fixture(autouse=True)
def backends_without_drivers(monkeypatch):
    """Engines that are told apart by their vendors; nothing here may connect to a server."""
    for vendor in ("mysql", "postgresql", "oracle"):
        base = SimpleNamespace(DatabaseWrapper=SimpleNamespace(vendor=vendor))
        monkeypatch.setitem(sys.modules, f"{backend(vendor)}.base", base)


def routing(**more):
    return {"REPLICAS": REPLICAS, **more}


BY_SESSION = routing(STORE="session")
PATIENCE = {"connect_timeout": 2, "read_timeout": 5}


def on(vendor, options=PATIENCE, **more):
    """All three databases on one vendor, each a server of its own; the replicas with these values."""
    engine = {"ENGINE": backend(vendor)}
    replica = {**engine, "OPTIONS": options, **more}
    return {
        "default": {**engine, "HOST": "primary.example"},
        "replica1": {**replica, "HOST": "replica1.example"},
        "replica2": {**replica, "HOST": "replica2.example"},
    }


@pytest.fixture(autouse=True)
def no_level_used_yet(monkeypatch):
    """Leave out what other tests in this process have asked for."""
    monkeypatch.setattr("django_rwrouter.checks.databases.used_levels", set())


@pytest.fixture(autouse=True)
def writers_that_wait(settings, monkeypatch):
    """What every project on SQLite should have; here the servers of the tests are left as they are."""
    for alias in ("default", "other"):
        monkeypatch.setitem(settings.DATABASES[alias], "OPTIONS", {"transaction_mode": "IMMEDIATE"})


@pytest.fixture
def project(settings, monkeypatch):
    """Return a function that changes the correct project of the tests."""

    def change(databases=None, **changes):
        for name, value in changes.items():
            setattr(settings, name, value)
        # In place: Django warns of an overridden DATABASES, which its connections would not see.
        for alias, values in (databases or {}).items():
            for key, value in values.items():
                if key == "MIRROR":
                    monkeypatch.setitem(settings.DATABASES[alias]["TEST"], key, value)
                else:
                    monkeypatch.setitem(settings.DATABASES[alias], key, value)

    return change


def found():
    return checks.run_checks(tags=["django_rwrouter"])


def numbers():
    return sorted(message.id.removeprefix("django_rwrouter.") for message in found())


# --- what is found ------------------------------------------------------------------------------

# What is set up, and what the message and its hint must say: the setting, the value, the way out. More of
# them are among those of newcomers, below.
MISTAKES = [
    ("E001", {"RWROUTER": ["replica1"]}, ["RWROUTER", "['replica1']", "{'REPLICAS': ['replica1']}"]),
    ("E002", {"RWROUTER": {"REPLICA": REPLICAS}}, ["RWROUTER", "'REPLICA'", "'REPLICAS'"]),
    ("E003", {"RWROUTER": {"SPILL_LIMIT": "10"}}, ["'10'", "is a string", "whole number", "env.int('NAME')"]),
    ("E003", {"RWROUTER": {"MONOTONIC_READS": "false"}}, ["'false'", "is a string", "env.bool('NAME')"]),
    ("E003", {"RWROUTER": {"WAIT_TIMEOUT": -1}}, ["-1", "must be 0 or a greater number"]),
    ("E003", {"RWROUTER": {"MONITOR": {"INTERVAL": "1"}}}, ["INTERVAL", "is a string", "env.float('NAME')"]),
    ("E003", {"RWROUTER": {"PRIMARY_ONLY": "app"}}, ["'app'", "is a string", "must be a list", "['app']"]),
    ("E004", {"RWROUTER": {"MODELS": ["app"]}}, ["MODELS", "CLUSTERS"]),
    (
        "E007",
        {"RWROUTER": {"CLUSTERS": {"a": {}, "b": {"PRIMARY": "other"}}}},
        ["'a'", "'b'", "MODELS"],
    ),
    ("E008", {"RWROUTER": routing(STORE="cokie")}, ["['STORE']", "'cokie'", "mean 'cookie'?"]),
    ("E008", {"RWROUTER": routing(STORE="exchange")}, ["one of 'cache', 'cookie', 'header', 'session',"]),
    ("E008", {"RWROUTER": routing(STORE=["cookie", "disk"])}, ["'disk'", "'cookie'", "'session'"]),
    ("E008", {"RWROUTER": routing(STORE="nowhere.Store")}, ["'nowhere.Store'", "No module named"]),
    ("E008", {"RWROUTER": routing(STORE=f"{HERE}.StoreWithoutSave")}, ["StoreWithoutSave", "save()"]),
    ("E009", {"RWROUTER": routing(BALANCER="randm")}, ["['BALANCER']", "'randm'", "mean 'random'?"]),
    ("E009", {"RWROUTER": routing(BALANCER="nowhere.B")}, ["'nowhere.B'", "No module named"]),
    (
        "E009",
        {"RWROUTER": routing(BALANCER=f"{HERE}.BalancerWithoutChoose")},
        ["BalancerWithoutChoose", "choose()"],
    ),
    (
        "E009",
        {"RWROUTER": {"CLUSTERS": {"a": {"REPLICAS": REPLICAS, "BALANCER": "randm"}}}},
        ["'randm'", "mean 'random'?"],
    ),
    (
        "E023",
        {"RWROUTER": routing(REPLICA_SESSION="nowhere.follow")},
        ["'REPLICA_SESSION'", "'nowhere.follow'", "No module named"],
    ),
    ("E023", {"RWROUTER": routing(REPLICA_SESSION=f"{HERE}.HERE")}, [f"'{HERE}.HERE'", "no function"]),
    (
        "E010",
        {"RWROUTER": routing(STATS={"BACKEND": "databse"})},
        ["['STATS']", "BACKEND", "'databse'", "mean 'database'?"],
    ),
    (
        "E010",
        {"RWROUTER": routing(STATS={"BACKEND": "nowhere.B"})},
        ["BACKEND", "'nowhere.B'", "No module named", "'off'"],
    ),
    (
        "E010",
        {"RWROUTER": routing(STATS={"BACKEND": f"{HERE}.StatisticsWithoutWrite"})},
        ["StatisticsWithoutWrite", "write()"],
    ),
    ("E010", {"RWROUTER": routing(STATS={"BACKEND": f"{HERE}.HERE"})}, [f"{HERE}.HERE", "class"]),
    ("E011", {"RWROUTER": routing(PRIMARY_ONLY=["sesions"])}, ["'sesions'", "mean 'sessions'?"]),
    (
        "E011",
        {"RWROUTER": {"REPLICAS": {"replica1": {"EXCEPT": ["app.Boook"]}}}},
        ["['REPLICAS']['replica1']['EXCEPT'] names 'app.Boook'", "mean 'app.Book'?"],
    ),
    ("E011", {"RWROUTER": routing(PRIMARY_ONLY=["tests.app"])}, ["'tests.app'", "mean 'app'?"]),
    ("E011", {"RWROUTER": routing(PRIMARY_ONLY=["app.book_tags"])}, ["'app.book_tags'"]),
    (
        "W018",
        {"RWROUTER": routing(UNSAFE_VIEWS=["admin:logn", "/ping/", "admin:index"])},
        ["RWROUTER['UNSAFE_VIEWS']", "'admin:logn'", "mean 'admin:login'?"],
    ),
    ("W018", {"RWROUTER": routing(UNSAFE_VIEWS=["zzz"])}, ["'zzz'", "'/ping/'"]),
    ("E011", {"RWROUTER": routing(PRIMARY_ONLY=["zzz"])}, ["'zzz'", "'app.Model'", "'sessions'"]),
    (
        "E011",
        {"RWROUTER": {"CLUSTERS": {"a": {"MODELS": ["app", "auht"]}}}},
        ["RWROUTER['CLUSTERS']['a']['MODELS']", "'auht'", "mean 'auth'?"],
    ),
    ("E012", {"MIDDLEWARE": [SESSIONS]}, ["MIDDLEWARE", repr(OURS), "first"]),
    (
        "E012",
        {"MIDDLEWARE": [f"{OURS}s", SESSIONS]},
        ["MIDDLEWARE", repr(OURS), f"in place of {f'{OURS}s'!r}"],
    ),
    (
        "E012",
        {"MIDDLEWARE": [SESSIONS], "RWROUTER": BY_SESSION},
        [repr(OURS), f"right after {SESSIONS!r}"],
    ),
    ("E013", {"MIDDLEWARE": [OURS, SESSIONS, OURS]}, ["MIDDLEWARE", repr(OURS), "Keep one"]),
    (
        "E013",
        {"MIDDLEWARE": [OURS, f"{HERE}.OwnMiddleware"]},
        [repr(OURS), "OwnMiddleware", "Keep one"],
    ),
    (
        "E015",
        {
            "MIDDLEWARE": [OURS, f"{HERE}.OwnSessionMiddleware"],
            "RWROUTER": {**BY_SESSION, "STORE": ["cookie", f"{HERE}.OwnSessionStore"]},
        },
        ["OwnSessionStore", f"right after '{HERE}.OwnSessionMiddleware'"],
    ),
    ("E017", {"DATABASE_ROUTERS": [f"{HERE}.OtherRouter"]}, ["DATABASE_ROUTERS", repr(ROUTER)]),
    (
        "E019",
        {"databases": {"replica2": {"AUTOCOMMIT": False}}},
        ["DATABASES['replica2']", "AUTOCOMMIT False", "Remove"],
    ),
    (
        "E020",
        {"databases": {"replica1": {"ENGINE": backend("mysql"), "OPTIONS": PATIENCE}}},
        ["DATABASES['replica1']", "'mysql'", "'default'", "'sqlite'", "ENGINE"],
    ),
    (
        "E021",
        {"RWROUTER": routing(COOKIE={"SAMESITE": "None"})},
        ["RWROUTER['COOKIE']", "SAMESITE 'None'", "'SECURE': True"],
    ),
    (
        "E021",
        {
            "RWROUTER": routing(COOKIE={"SAMESITE": "None", "SECURE": False}),
            "SESSION_COOKIE_SECURE": True,
        },
        ["RWROUTER['COOKIE']", "SECURE"],
    ),
    ("E021", {"RWROUTER": routing(COOKIE={"NAME": "__Secure-rw"})}, ["'__Secure-rw'", "SECURE"]),
    (
        "E021",
        {"RWROUTER": routing(COOKIE={"NAME": "__Host-rw", "SECURE": True, "PATH": "/shop/"})},
        ["'__Host-rw'", "PATH"],
    ),
    (
        "E022",
        {"RWROUTER": routing(COOKIE={"NAME": "sessionid"})},
        ["RWROUTER['COOKIE']", "NAME 'sessionid'", "SESSION_COOKIE_NAME"],
    ),
    (
        "E022",
        {"RWROUTER": routing(), "CSRF_COOKIE_NAME": "rwrouter"},
        ["NAME 'rwrouter'", "CSRF_COOKIE_NAME"],
    ),
    (
        "E025",
        {"MIDDLEWARE": [OURS, "nowhere.Middleware"]},
        ["MIDDLEWARE", "'nowhere.Middleware'", "ModuleNotFoundError: No module named 'nowhere'"],
    ),
    (
        "W001",
        {"MIDDLEWARE": [SECURITY, SESSIONS, OURS, COMMON]},
        [f"{OURS!r} is not the first", "MIDDLEWARE", f"behind 2 others, the last of them {SESSIONS!r}"],
    ),
    (
        "W001",
        {"MIDDLEWARE": [SECURITY, f"{HERE}.OwnMiddleware"]},
        [f"'{HERE}.OwnMiddleware' is not the first", f"behind {SECURITY!r}:"],
    ),
    (
        "W002",
        {"MIDDLEWARE": [SECURITY, SESSIONS, COMMON, OURS], "RWROUTER": BY_SESSION},
        ["MIDDLEWARE", repr(COMMON), f"Put {OURS!r} right after {SESSIONS!r}"],
    ),
    (
        "W003",
        {"DATABASE_ROUTERS": [ROUTER, f"{HERE}.OwnRouter"]},
        ["DATABASE_ROUTERS", repr(ROUTER), "OwnRouter", "Keep one"],
    ),
    ("W004", {"DATABASE_ROUTERS": [MigrationRouter(), ROUTER]}, ["MigrationRouter"]),
    (
        "W005",
        {"DATABASE_ROUTERS": [ROUTER, f"{HERE}.OtherRouter"]},
        ["DATABASE_ROUTERS", f"'{HERE}.OtherRouter'", "CLUSTERS", "MODELS"],
    ),
    (
        "W007",
        {"databases": {"replica1": {"MIRROR": "replica2"}}},
        ["DATABASES['replica1']", "'replica2'", "'TEST': {'MIRROR': 'default'}"],
    ),
    (
        "I004",
        {"databases": {"default": {"OPTIONS": {}}}},
        ["DATABASES['default']", "transaction_mode None", "two writers", "'IMMEDIATE'", "'BACKEND': 'off'"],
    ),
    (
        "I004",
        {"databases": {"default": {"OPTIONS": {"transaction_mode": "deferred"}}}},
        ["transaction_mode 'deferred'", "'database is locked'"],
    ),
    ("I001", {"RWROUTER": {"PIN_SECONDS": 3}}, ["RWROUTER", "'REPLICAS'", "empty list"]),
    (
        "W013",
        {"RWROUTER": routing(CONSISTENCY="causal")},
        ["CONSISTENCY 'causal'", "cluster 'default'", "'sqlite'", "'window'", "PIN_SECONDS"],
    ),
    (
        "W013",
        {"RWROUTER": routing(CONSISTENCY="strong", MONOTONIC_READS=True, SYNC_REPLICAS=1)},
        ["CONSISTENCY 'strong'", "MONOTONIC_READS", "SYNC_REPLICAS"],
    ),
    (
        "W014",
        {
            "RWROUTER": routing(STORE=["cookie", "cache"]),
            "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        },
        ["STORE", "'cache'", "CACHES['default']", "LocMemCache", "Redis"],
    ),
    (
        "W012",
        {"RWROUTER": routing(MAX_LAG=7, PIN_SECONDS=3)},
        ["MAX_LAG", "'default'", "7 seconds", "PIN_SECONDS 3"],
    ),
    ("W015", {"RWROUTER": routing(BALANCER="zone")}, ["'zone'", "['ZONE'] is ''", "none"]),
    ("W016", {"RWROUTER": routing(MONITOR={"MODE": "off"})}, ["['MONITOR']", "'off'", "'inline'"]),
    *(
        (
            "W027",
            {
                "RWROUTER": routing(MONITOR={"SHARE": "cache:default"}),
                "CACHES": {"default": {"BACKEND": f"django.core.cache.backends.{backend}", **more}},
            },
            ["SHARE 'cache:default'", "CACHES['default']", backend.rpartition(".")[2], why],
        )
        for backend, more, why in (
            ("locmem.LocMemCache", {}, "to itself"),
            ("dummy.DummyCache", {}, "keeps nothing"),
            ("db.DatabaseCache", {"LOCATION": "cache"}, "is away when its database is"),
            ("redis.RedisCache", {"LOCATION": ["redis://a", "redis://b"]}, "copies that lag"),
        )
    ),
    (
        "W015",
        {
            "RWROUTER": {
                "BALANCER": "zone",
                "ZONE": "c",
                "REPLICAS": {"replica1": {"ZONE": "a"}, "replica2": {}},
            }
        },
        ["['ZONE'] is 'c'", "their zones: 'a'"],
    ),
]
# These are said of both replicas.
OF_EACH_REPLICA = [
    ("W008", on("mysql", {"read_timeout": 5}), ["connect_timeout", "OPTIONS"]),
    ("W008", on("mysql", {"read_timeout": 5, "connect_timeout": 0}), ["connect_timeout"]),
    ("W008", on("postgresql", {"service": "replicas"}), ["connect_timeout", "OPTIONS"]),
    ("W009", on("mysql", {"connect_timeout": 2}), ["read_timeout", "OPTIONS"]),
    ("W010", on("mysql", CONN_MAX_AGE=60), ["CONN_MAX_AGE 60", "'CONN_HEALTH_CHECKS': True"]),
    ("W010", on("postgresql", CONN_MAX_AGE=None), ["CONN_MAX_AGE None", "CONN_HEALTH_CHECKS"]),
    ("W010", on("postgresql", {**PATIENCE, "pool": True}), ["pooled", "CONN_HEALTH_CHECKS"]),
    ("W011", on("oracle"), ["'oracle'", "READ_ONLY_SESSIONS"]),
]
KINDS = {"E": checks.Error, "W": checks.Warning, "I": checks.Info}


def check_message(message, number, words):
    assert message.id == f"django_rwrouter.{number}"
    assert type(message) is KINDS[number[0]]
    for word in words:
        assert word in f"{message.msg} {message.hint}"
    assert message.hint.endswith(f" {DOCUMENTATION}checks.html#{number.lower()}")
    text = f"{message.msg} {message.hint}".replace("...", "")
    assert not re.search(r"\?\.|\.\.|;;|  | \.", text)


@pytest.mark.parametrize(
    ("number", "changes", "words"),
    MISTAKES,
    ids=[f"{number}-{place}" for place, (number, *_) in enumerate(MISTAKES)],
)
def test_a_mistake_is_explained(project, number, changes, words):
    project(**changes)
    assert numbers() == [number]
    check_message(*found(), number, words)


@pytest.mark.parametrize(("number", "databases", "words"), OF_EACH_REPLICA)
def test_a_mistake_is_explained_for_each_replica(project, number, databases, words):
    project(databases)
    assert numbers() == [number, number]
    for message, alias in zip(found(), REPLICAS, strict=True):
        check_message(message, number, [f"DATABASES[{alias!r}]", *words])


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        ("E008", {"STORE": "raising.X"}),
        ("E009", {"BALANCER": "raising.X"}),
        ("E010", {"STATS": {"BACKEND": "raising.X"}}),
        ("E010", {"STATS": {"BACKEND": ".raising.X"}}),
        ("E023", {"REPLICA_SESSION": "raising.X"}),
    ],
)
def test_what_a_module_of_the_project_raises_is_explained(project, tmp_path, monkeypatch, number, changes):
    (tmp_path / "raising.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    project(RWROUTER=routing(**changes))
    assert numbers() == [number]
    check_message(*found(), number, [""])


KEPT = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
INLINE = {"RWROUTER": routing(MONITOR={"MODE": "inline"})}


@pytest.mark.parametrize(
    "databases",
    [on("postgresql", **KEPT), on("postgresql", {**PATIENCE, "pool": True}, CONN_HEALTH_CHECKS=True)],
    ids=["kept", "pooled"],
)
def test_nobody_would_end_a_read_that_hangs(project, databases):
    project(databases, **INLINE)
    assert numbers() == ["W017", "W017"]
    for message, alias in zip(found(), REPLICAS, strict=True):
        check_message(message, "W017", [f"DATABASES[{alias!r}]", "'MONITOR'", "'inline'", "'thread'"])


@pytest.mark.parametrize(
    ("databases", "changes"),
    [(on("postgresql", **KEPT), {}), (on("postgresql"), INLINE), (on("mysql", **KEPT), INLINE)],
    ids=["a thread ends it", "nothing is kept", "the driver ends it"],
)
def test_somebody_ends_a_read_that_hangs(project, databases, changes):
    project(databases, **changes)
    assert numbers() == []


@pytest.mark.parametrize("engine", ["db", "cached_db"])
def test_sessions_in_a_table_that_does_not_exist(project, settings, monkeypatch, engine):
    engine = f"django.contrib.sessions.backends.{engine}"
    project(
        RWROUTER=BY_SESSION,
        MIDDLEWARE=[SESSIONS, OURS],
        SESSION_ENGINE=engine,
        INSTALLED_APPS=[app for app in settings.INSTALLED_APPS if app != "django.contrib.sessions"],
    )
    # As in a project that has never had the app, whose models are then not imported yet.
    monkeypatch.delitem(sys.modules, "django.contrib.sessions.models")
    assert numbers() == ["E016"]
    words = ["['STORE']", "'session'", "SESSION_ENGINE", repr(engine), "'django.contrib.sessions'"]
    check_message(*found(), "E016", words)


def without_setting(project, settings):
    project(RWROUTER={})  # Told to Django's signal; a deletion is not.
    del settings.RWROUTER


@pytest.mark.parametrize(
    "changes",
    [{}, {"MIDDLEWARE": []}, {"DATABASE_ROUTERS": []}],
    ids=["both", "router", "middleware"],
)
def test_a_set_up_without_the_setting_is_mentioned(project, settings, changes):
    without_setting(project, settings)
    project(**changes)
    assert numbers() == ["I001"]
    words = ["RWROUTER is not set", "{'REPLICAS': ['replica1']}", "empty list"]
    check_message(*found(), "I001", words)


@pytest.mark.parametrize("name", ["RW_ROUTER", "RWROUTERS", "RWROUTE"])
def test_a_setting_with_a_similar_name_is_pointed_out(project, settings, name):
    without_setting(project, settings)
    project(**{name: {"REPLICAS": REPLICAS}})
    assert numbers() == ["I001"]
    check_message(*found(), "I001", ["RWROUTER is not set", "rename it to RWROUTER", name])


# --- what newcomers get wrong -------------------------------------------------------------------


SAME = {"HOST": "db1.example", "PORT": "3306", "NAME": "shop"}
MYSQL, POSTGRESQL = on("mysql"), on("postgresql")
TENANTS = "tenants_postgresql"
NEWCOMERS = {
    "1 a typo in an alias": (
        "E005",
        {"RWROUTER": {"REPLICAS": ["replcia1"]}},
        ["REPLICAS", "'replcia1'", "not in DATABASES", "'replica1'"],
    ),
    "2 no middleware": ("E012", {"MIDDLEWARE": []}, ["MIDDLEWARE lacks", f"Add {OURS!r}"]),
    "3 the middleware last": (
        "W001",
        {"MIDDLEWARE": [SECURITY, SESSIONS, COMMON, OURS]},
        [f"{OURS!r} is not the first entry", "3 others", f"MIDDLEWARE = [{OURS!r}, {SECURITY!r}, ...]"],
    ),
    "4 no router": (
        "E017",
        {"DATABASE_ROUTERS": []},
        ["DATABASE_ROUTERS lacks", f"Add {ROUTER!r} to DATABASE_ROUTERS, as its first entry"],
    ),
    "7 a typo in a key": ("E002", {"RWROUTER": routing(PIN_SECOND=3)}, ["'PIN_SECOND'", "'PIN_SECONDS'"]),
    "7 a key in small letters": ("E002", {"RWROUTER": {"replicas": REPLICAS}}, ["'replicas'", "'REPLICAS'"]),
    "8 a typo in MONITOR": ("E003", {"RWROUTER": routing(MONITOR={"MOD": "off"})}, ["'MOD'", "'MODE'"]),
    "8 a typo in STATS": ("E003", {"RWROUTER": routing(STATS={"BACKEN": "off"})}, ["'BACKEN'", "'BACKEND'"]),
    "8 a typo in COOKIE": ("E003", {"RWROUTER": routing(COOKIE={"NAM": "x"})}, ["'NAM'", "'NAME'"]),
    "9 no mirror": (
        "W006",
        {"databases": {"replica1": {"MIRROR": None}}},
        ["DATABASES['replica1']", "'TEST': {'MIRROR': 'default'}"],
    ),
    "10 the primary among the replicas": (
        "E006",
        {"RWROUTER": {"REPLICAS": ["default"]}},
        ["'default'", "['PRIMARY']", "['REPLICAS']"],
    ),
    "11 a replica that is the primary": (
        "W020",
        {"databases": {**MYSQL, **{alias: {**MYSQL[alias], **SAME} for alias in ("default", "replica1")}}},
        ["DATABASES['replica1']", "NAME, HOST and PORT of 'default'", "the primary", "own HOST or PORT"],
    ),
    "12 two replicas that are one": (
        "W020",
        {"databases": {**MYSQL, **{alias: {**MYSQL[alias], **SAME} for alias in REPLICAS}}},
        ["DATABASES['replica2']", "NAME, HOST and PORT of 'replica1'", "own HOST or PORT"],
    ),
    "13 a typo in a level": ("E003", {"RWROUTER": routing(CONSISTENCY="casual")}, ["'casual'", "'causal'"]),
    "14 a level for blocks": (
        "E003",
        {"RWROUTER": routing(CONSISTENCY="bounded")},
        ["'bounded'", "for blocks alone", "consistency('bounded', max_staleness=2.0)"],
    ),
    "15 no session for the store": (
        "E014",
        {"MIDDLEWARE": [OURS], "RWROUTER": BY_SESSION},
        ["['STORE']", "'session'", "no SessionMiddleware", repr(SESSIONS), "'cookie'"],
    ),
    "15 the store in front of the session": (
        "E015",
        {"MIDDLEWARE": [OURS, SESSIONS], "RWROUTER": BY_SESSION},
        ["['STORE']", "'session'", f"Put {OURS!r} right after {SESSIONS!r}"],
    ),
    "16 a cache of each process": (
        "W014",
        {
            "RWROUTER": routing(STORE="cache"),
            "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        },
        ["'cache'", "LocMemCache", "Redis"],
    ),
    "17 ATOMIC_REQUESTS on a replica": (
        "E018",
        {"databases": {"replica1": {"ATOMIC_REQUESTS": True}}},
        ["DATABASES['replica1']", "ATOMIC_REQUESTS True", "Remove ATOMIC_REQUESTS"],
    ),
    "18 a string for the list of replicas": (
        "E003",
        {"RWROUTER": {"REPLICAS": "replica1"}},
        ["'replica1'", "is a string", "Write ['replica1']"],
    ),
    "19 a number from the environment": (
        "E003",
        {"RWROUTER": routing(PIN_SECONDS="5")},
        ["'5'", "is a string", "a number", "env.float('NAME')"],
    ),
    "19 a switch from the environment": (
        "E003",
        {"RWROUTER": routing(ENABLED="false")},
        ["'false'", "is a string", "env.bool('NAME')"],
    ),
    "20 a typo in PRIMARY_ONLY": (
        "E011",
        {"RWROUTER": routing(PRIMARY_ONLY=["app.Bok"])},
        ["RWROUTER['PRIMARY_ONLY']", "'app.Bok'", "mean 'app.Book'?"],
    ),
    "21 a list for the whole": (
        "E001",
        {"RWROUTER": REPLICAS},
        ["must be a dict", "{'REPLICAS': ['replica1']}"],
    ),
    "22 another router in front": (
        "W004",
        {"DATABASE_ROUTERS": [f"{HERE}.OtherRouter", ROUTER]},
        [f"'{HERE}.OtherRouter' in front", f"Make {ROUTER!r} the first", "CLUSTERS"],
    ),
    "23 a second alias for reports": (
        "W019",
        {
            "RWROUTER": {"REPLICAS": ["replica1"]},
            "databases": {"replica2": {"MIRROR": None, "NAME": DATABASES["replica1"]["NAME"]}},
        },
        ["DATABASES['replica2']", "as 'replica1'", "'TEST': {'MIRROR': 'default'}"],
    ),
    "24 tenants on the primary alone": (
        "E027",
        {
            "RWROUTER": {"REPLICAS": ["replica1"]},
            "databases": {**POSTGRESQL, "default": {"ENGINE": TENANTS, "HOST": "primary.example"}},
        },
        ["DATABASES['replica1']", backend("postgresql"), "rows of another", f"'ENGINE': {TENANTS!r}"],
    ),
    "25 a bound that nobody can promise": (
        "W023",
        {"RWROUTER": routing()},
        ["consistency('bounded')", "'default'", "'sqlite'", "'eventual'"],
    ),
    "27 sessions of another package": (
        "W022",
        {"RWROUTER": routing(), "SESSION_ENGINE": "user_sessions.backends.db"},
        ["'user_sessions.backends.db'", "logged out", "Add 'app.DeviceSession' to RWROUTER['PRIMARY_ONLY']"],
    ),
    "28 a pooler that shares connections": (
        "W021",
        {
            "RWROUTER": {"REPLICAS": ["replica1"]},
            "databases": on("postgresql", PORT="6432", CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True),
        },
        ["PORT '6432'", "CONN_MAX_AGE None", "'READ_ONLY_SESSIONS': False", "'CONN_MAX_AGE': 0"],
    ),
    "28 a pooler that is known by cursors": (
        "W021",
        {
            "RWROUTER": {"REPLICAS": ["replica1"]},
            "databases": on("postgresql", DISABLE_SERVER_SIDE_CURSORS=True),
        },
        ["DISABLE_SERVER_SIDE_CURSORS True", "READ_ONLY_SESSIONS True", "pool_mode = session"],
    ),
    "30 serializable on a standby": (
        "W024",
        {
            "RWROUTER": {"REPLICAS": ["replica1"]},
            "databases": on(
                "postgresql", {**PATIENCE, "options": "-c default_transaction_isolation=serializable"}
            ),
        },
        ["DATABASES['replica1']", "serializable", "no standby has", "Leave that out"],
    ),
}
SHOWN_ELSEWHERE = {
    5: "test_a_router_that_cannot_be_made_is_explained",
    6: "test_a_project_without_the_app_is_told_by_the_command",
    26: "tests/sqlite/test_decorators.py: raised or warned of where the decorator stands",
    29: "test_what_only_servers_tell_is_said_where_they_are_asked",
    31: "test_what_only_servers_tell_is_said_where_they_are_asked",
}


@pytest.mark.parametrize(("number", "changes", "words"), NEWCOMERS.values(), ids=NEWCOMERS)
def test_what_newcomers_get_wrong_is_explained_in_one_reading(
    project, monkeypatch, request, number, changes, words
):
    tenants = SimpleNamespace(vendor="postgresql", set_tenant=None)
    monkeypatch.setitem(sys.modules, f"{TENANTS}.base", SimpleNamespace(DatabaseWrapper=tenants))
    if "25" in request.node.callspec.id:
        monkeypatch.setattr("django_rwrouter.checks.databases.used_levels", {Level.BOUNDED})
    project(**changes)
    assert numbers() == [number]
    check_message(*found(), number, words)


def test_every_mistake_of_newcomers_is_among_these():
    shown = {int(name.split()[0]) for name in NEWCOMERS} | set(SHOWN_ELSEWHERE)
    assert shown == set(range(1, 32))


def test_a_decorator_at_bounded_is_known_to_the_check(monkeypatch):
    monkeypatch.setattr(blocks, "used_levels", set())
    blocks.consistency("bounded", max_staleness=2)
    assert blocks.used_levels == {Level.BOUNDED}


WITHOUT_THE_APP = """
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.messages", "django.contrib.sessions"],
    MIDDLEWARE=["django_rwrouter.middleware.ReadWriteMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DATABASE_ROUTERS=["django_rwrouter.router.ReadWriteRouter"],
    SECRET_KEY="x",
)
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", COMMAND])
"""


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_a_project_without_the_app_is_told_by_the_command(command):
    code = WITHOUT_THE_APP.replace("COMMAND", repr(command))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    words = ["(django_rwrouter.E026)", "INSTALLED_APPS lacks 'django_rwrouter'", "INSTALLED_APPS += "]
    for word in [*words, f"{DOCUMENTATION}checks.html#e026"]:
        assert word in done.stderr


def diagnosis(alias, cluster, **variables):
    """What the doctor says of a PostgreSQL server that answers this."""
    server = ExaminedServer(cluster=cluster, alias=alias, product=PostgreSQL(), variables=variables)
    postgresql.judge(server)
    return server.findings


STANDBY = {"in_recovery": "true", "receivers": "1"}
SWAPPED = {"default": STANDBY, "replica1": {"in_recovery": "false"}}
AT_SERVERS = {
    "29 no right to see where a standby stands": (
        {"replica1": {**STANDBY, "pg_monitor": "false"}},
        [("I003", ["DATABASES['replica1']", "not allowed to see", "GRANT pg_monitor"])],
    ),
    "31 primary and replica swapped": (
        SWAPPED,
        [
            ("E028", ["DATABASES['default']", "is a standby: no write succeeds", "swap the two"]),
            ("W025", ["DATABASES['replica1']", "no standby", "pg_basebackup"]),
        ],
    ),
    "pgpool-II balances reads itself": (
        {"default": {"in_recovery": "false", "load_balance_mode": "on"}},
        [("E029", ["DATABASES['default']", "pgpool-II", "load_balance_mode = off"])],
    ),
}


@pytest.mark.parametrize(("answers", "expected"), AT_SERVERS.values(), ids=AT_SERVERS)
def test_what_only_servers_tell_is_said_where_they_are_asked(monkeypatch, answers, expected):
    monkeypatch.setattr(checks_of_servers.process, "in_test_environment", lambda: False)
    monkeypatch.setattr(
        checks_of_servers,
        "examine",
        lambda cluster, timeout, aliases: [
            finding for alias in aliases for finding in diagnosis(alias, cluster, **answers[alias])
        ],
    )
    messages = checks.run_checks(tags=["django_rwrouter"], databases=list(answers))
    important = [message for message in messages if "does not say where" not in message.msg]
    important = [message for message in important if "keeps up cannot be told" not in message.msg]
    assert [message.id.rpartition(".")[2] for message in important] == [number for number, _ in expected]
    for message, (number, words) in zip(important, expected, strict=True):
        check_message(message, number, words)


def test_servers_are_not_asked_without_a_database_and_in_tests(monkeypatch):
    monkeypatch.setattr(checks_of_servers, "examine", lambda *args: pytest.fail("It was asked."))
    assert found() == []
    assert checks.run_checks(tags=["django_rwrouter"], databases=["default"]) == []
    monkeypatch.setattr(checks_of_servers.process, "in_test_environment", lambda: False)
    assert checks.run_checks(tags=["django_rwrouter"], databases=["other"]) == []


# --- what is in order ---------------------------------------------------------------------------

IN_ORDER = {
    "as documented": {},
    "switched off": {"RWROUTER": routing(ENABLED=False)},
    "shadow": {"RWROUTER": routing(ENABLED="shadow")},
    "no replicas here": {"RWROUTER": {"REPLICAS": []}},
    "an empty setting": {"RWROUTER": {}},
    "no replicas here, and nothing else": {
        "RWROUTER": {"REPLICAS": []},
        "MIDDLEWARE": [],
        "DATABASE_ROUTERS": [],
    },
    "no replicas here, and the middleware anywhere": {
        "RWROUTER": {"REPLICAS": []},
        "MIDDLEWARE": [SECURITY, OURS],
    },
    "session store": {"RWROUTER": BY_SESSION, "MIDDLEWARE": [SECURITY, SESSIONS, OURS, COMMON]},
    "session store of another package": {
        "RWROUTER": {**BY_SESSION, "STORE": f"{HERE}.OwnSessionStore"},
        "MIDDLEWARE": [f"{HERE}.OwnSessionMiddleware", f"{HERE}.OwnMiddleware"],
    },
    "session and cookie": {
        "RWROUTER": {**BY_SESSION, "STORE": ["cookie", "session"]},
        "MIDDLEWARE": [SESSIONS, OURS],
    },
    "session store without the app, in a cookie": {
        "RWROUTER": BY_SESSION,
        "MIDDLEWARE": [SESSIONS, OURS],
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    },
    "a middleware of its own": {"MIDDLEWARE": [f"{HERE}.OwnMiddleware", SECURITY]},
    "a router of its own": {"DATABASE_ROUTERS": [f"{HERE}.OwnRouter"]},
    "a router object": {"DATABASE_ROUTERS": [ReadWriteRouter()]},
    "another router behind, for migrations": {"DATABASE_ROUTERS": [ROUTER, MigrationRouter()]},
    "another router behind, for other models": {
        "DATABASE_ROUTERS": [ROUTER, OtherRouter()],
        "RWROUTER": {"CLUSTERS": {"a": {"REPLICAS": REPLICAS, "MODELS": ["app", "auth.user"]}}},
    },
    "two clusters": {
        "RWROUTER": {
            "PRIMARY_ONLY": ["App.AuditRow", "sessions"],
            "CLUSTERS": {
                "main": {"REPLICAS": REPLICAS, "PRIMARY_ONLY": ["django_cache"]},
                "other": {"PRIMARY": "other", "MODELS": ["app.Note"]},
            },
        },
    },
    "a cookie for other sites": {
        "RWROUTER": routing(COOKIE={"SAMESITE": "None", "SECURE": True}),
    },
    "a cookie for other sites, as secure as the session's": {
        "RWROUTER": routing(COOKIE={"SAMESITE": "None", "NAME": "__Host-rw"}),
        "SESSION_COOKIE_SECURE": True,
    },
    "a cookie that is not used": {
        "RWROUTER": {**BY_SESSION, "COOKIE": {"SAMESITE": "None"}},
        "MIDDLEWARE": [SESSIONS, OURS],
    },
    "no statistics": {"RWROUTER": routing(STATS={"BACKEND": "off"})},
    "statistics of its own": {
        "RWROUTER": routing(STATS={"BACKEND": f"{HERE}.StatisticsThatConnect"}),
    },
    "one Redis for all processes, in a list": {
        "RWROUTER": routing(MONITOR={"SHARE": "cache:default"}),
        "CACHES": {
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": ["redis://a"]}
        },
    },
    "a cache whose entry says nothing": {
        "RWROUTER": routing(MONITOR={"SHARE": "cache:default"}),
        "CACHES": {"default": {}},
    },
    "MySQL": {"databases": on("mysql")},
    "mysql.connector's name for it": {"databases": on("mysql", {"connection_timeout": 2, "read_timeout": 5})},
    "MySQL, connections kept": {"databases": on("mysql", CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)},
    "PostgreSQL": {"databases": on("postgresql", {"connect_timeout": 2})},
    "Oracle": {
        "databases": on("oracle"),
        "RWROUTER": routing(READ_ONLY_SESSIONS=False),
    },
    "a driver that is not installed": {"databases": {"replica1": {"ENGINE": "nowhere"}}},
    "transactions on the primary": {"databases": {"default": {"ATOMIC_REQUESTS": True}}},
}


@pytest.mark.parametrize("changes", IN_ORDER.values(), ids=IN_ORDER)
def test_nothing_is_said_of_a_project_in_order(project, changes):
    project(**changes)
    assert found() == []


def test_nothing_is_said_where_only_the_app_is_installed(project, settings):
    without_setting(project, settings)
    project(MIDDLEWARE=[SESSIONS], DATABASE_ROUTERS=[])
    assert found() == []


# --- several mistakes at once -------------------------------------------------------------------


def test_what_does_not_depend_on_a_wrong_setting_is_checked_all_the_same(project):
    project(RWROUTER={"REPLICA": REPLICAS}, MIDDLEWARE=[], DATABASE_ROUTERS=[])
    assert numbers() == ["E002", "E012", "E017"]


@pytest.mark.parametrize("raw", [None, 3, [], {"STORE": 3}, {"CLUSTERS": {"a": 3}}], ids=repr)
def test_what_depends_on_a_wrong_setting_is_left_out(project, raw):
    project({"replica1": {"ATOMIC_REQUESTS": True}}, RWROUTER=raw, MIDDLEWARE=[SECURITY, OURS])
    assert [number[:1] for number in numbers()] == ["E"]


def test_a_store_that_does_not_exist_hides_nothing_else(project):
    project(RWROUTER=routing(STORE="disk"), MIDDLEWARE=[SECURITY])
    assert numbers() == ["E008", "E012"]


def test_all_that_is_wrong_with_a_replica_is_said(project):
    project(on("mysql", {}, ATOMIC_REQUESTS=True, AUTOCOMMIT=False, CONN_MAX_AGE=None, MIRROR=None))
    assert numbers() == sorted(2 * ["E018", "E019", "W006", "W008", "W009", "W010"])


# --- as the command shows it --------------------------------------------------------------------


@pytest.mark.django_db(databases="__all__")
def test_the_command_finds_nothing_to_say():
    output = StringIO()
    call_command("check", stdout=output, stderr=output)
    assert "no issues" in output.getvalue()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("django_rwrouter.routers.ReadWriteRouter", "No module named"),
        ("django_rwrouter.router.Router", "does not define"),
        (f"{HERE}.BrokenRouter", "ZeroDivisionError"),
    ],
)
def test_a_router_that_cannot_be_made_is_explained(path, words, monkeypatch):
    # Not by the fixture: Django makes the routers as soon as the setting changes in a test.
    monkeypatch.setattr(checks_of_projects, "django_settings", SimpleNamespace(DATABASE_ROUTERS=[path]))
    (message,) = installation.routers(None)
    assert message.id == "django_rwrouter.E024"
    assert repr(path) in message.msg
    assert words in message.msg
    assert repr(ROUTER) in message.hint


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("databases", [None, ["default", "replica1"]], ids=["", "--database"])
def test_the_command_explains_a_wrong_setting(project, databases):
    project(RWROUTER=routing(PIN_SECOND=3))
    with pytest.raises(CommandError) as caught:
        call_command("check", databases=databases)
    for word in ("(django_rwrouter.E002)", "'PIN_SECOND'", "HINT:", "'PIN_SECONDS'"):
        assert word in str(caught.value)


# --- the ids ------------------------------------------------------------------------------------


def ids_in(pattern):
    """The ids that these files of the package name."""
    files = sorted((ROOT / "django_rwrouter").glob(pattern))
    return [number for file in files for number in NUMBER.findall(file.read_text(encoding="utf-8"))]


def documented():
    text = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    return re.findall(r"^\((\w+)\)=\n+### django_rwrouter\.(\w+): \S.*\n", text, re.MULTILINE), text


NUMBER = re.compile(r'"([EWI]\d{3})"')
OF_THE_SETTING = set(ids_in("conf/parser.py"))
OF_THE_CHECKS = [*ids_in("checks/*.py"), "E026"]  # Raised by conf/project.py, as no check is registered.


def test_no_id_is_used_twice():
    assert {number: n for number, n in Counter(OF_THE_CHECKS).items() if n > 1} == {}
    assert OF_THE_SETTING & set(OF_THE_CHECKS) == set()


def test_ids_are_counted_without_gaps():
    for letter in KINDS:
        used = sorted(each for each in {*OF_THE_SETTING, *OF_THE_CHECKS} if each[0] == letter)
        assert used == [f"{letter}{n:03}" for n in range(1, len(used) + 1)]


def installed(monkeypatch, *names):
    configs = [*apps.get_app_configs()]
    configs += [SimpleNamespace(name=name, label=name.rpartition(".")[2]) for name in names]
    monkeypatch.setattr(apps, "get_app_configs", lambda: configs)


@pytest.mark.parametrize(
    "name",
    ["rest_framework.authtoken", "knox", "oauth2_provider", "waffle", "constance.backends.database", "silk"],
)
def test_an_app_whose_rows_are_kept_is_named(project, monkeypatch, name):
    installed(monkeypatch, name)
    label = name.rpartition(".")[2]
    project(RWROUTER=routing())
    (message,) = found()
    check_message(message, "I002", [repr(name), "PRIMARY_ONLY", f"Add {label!r}"])
    monkeypatch.setattr("django_rwrouter.checks.setting.labels", lambda raw: ())  # It is not really there.
    for entry in (label, label.title(), f"{label}.Token"):
        project(RWROUTER=routing(PRIMARY_ONLY=[entry]))
        assert numbers() == []
    project(RWROUTER={"CLUSTERS": {"main": {"REPLICAS": REPLICAS, "MODELS": ["app"]}}})
    assert numbers() == []


def test_constance_matters_only_with_its_database_backend(project, monkeypatch, settings):
    installed(monkeypatch, "constance")
    project(RWROUTER=routing())
    assert numbers() == []
    settings.CONSTANCE_BACKEND = "constance.backends.database.DatabaseBackend"
    assert numbers() == ["I002"]


def test_every_id_is_documented_under_its_anchor_and_nothing_else_is():
    sections, text = documented()
    assert all(anchor == number for anchor, number in sections)
    assert len(sections) == text.count("\n### "), "A section has no anchor, or no id."
    numbers = [number for number, _ in sections]
    assert sorted(numbers) == sorted({*OF_THE_SETTING, *OF_THE_CHECKS})


def test_a_directory_where_processes_cannot_meet_is_told(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    settings.RWROUTER = {"REPLICAS": REPLICAS}
    assert "W026" not in {each.id.rpartition(".")[2] for each in found()}
    assert not [*tmp_path.iterdir()], "A check makes nothing."
    directory = tmp_path / "django-rwrouter"
    directory.mkdir()
    directory.chmod(0o755)
    (message,) = (each for each in found() if each.id == "django_rwrouter.W026")
    assert "mode 0755" in message.msg
    assert "'SHARE': 'none'" in message.hint
    assert "checks.html#w026" in message.hint.lower()
    settings.RWROUTER = {"REPLICAS": REPLICAS, "MONITOR": {"SHARE": "none"}}
    assert "django_rwrouter.W026" not in {each.id for each in found()}
    settings.RWROUTER = {"REPLICAS": REPLICAS}
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    (message,) = (each for each in found() if each.id == "django_rwrouter.W026")
    assert "is missing or not writable" in message.msg


def test_every_section_says_what_it_has_to():
    _, text = documented()
    for section in re.split(r"^\(\w+\)=$", text, flags=re.MULTILINE)[1:]:
        parts = re.findall(r"^\*\*(.+?)\*\*", section, re.MULTILINE)
        assert parts == ["Cause.", "Why it matters.", "What to do."], section


def test_every_id_has_a_test():
    tested = {number for number, *_ in [*MISTAKES, *OF_EACH_REPLICA, *NEWCOMERS.values()]}
    tested |= {"E016", "E024", "E026", "E028", "E029", "W017", "W025", "W026", "I002", "I003"}
    assert tested == {*OF_THE_SETTING, *OF_THE_CHECKS}
