import sys
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from django_rwrouter.conf import get_settings, parser, read
from django_rwrouter.conf.options import (
    ClusterSettings,
    CookieSettings,
    MonitorSettings,
    ReplicaSettings,
    Settings,
    StatsSettings,
)
from django_rwrouter.decision import Level

DATABASES = ("default", "replica1", "replica2", "sales", "sales1")


def read_well(raw):
    settings, problems = read(raw, DATABASES)
    assert problems == []
    return settings


def problems_of(raw):
    settings, problems = read(raw, DATABASES)
    assert settings is None, "Settings with problems must not be usable."
    assert problems, "Settings that are not usable must say why."
    return problems


def only_problem(raw):
    problems = problems_of(raw)
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


def value_of(settings, attribute):
    (cluster,) = settings.clusters
    return getattr(settings if hasattr(settings, attribute) else cluster, attribute)


# --- each key -----------------------------------------------------------------------------------

A_NUMBER_ABOVE_0 = (0, -1, "5", None, True, False, float("nan"), float("inf"), [], 1j)
NOT_A_FLAG = (0, 1, "", "yes", None, [])
NOT_TEXT = ("", None, 3, True, [], b"x")
NOT_LABELS = ("app", None, 3, [3], [""], ["."], ["a.b.c"], {"app": True})

# Key: (attribute, {good value: what it becomes}, bad values).
KEYS = {
    "ENABLED": (
        "enabled",
        [(True, True), (False, False), ("shadow", "shadow")],
        (1, 0, "True", "Shadow", None, []),
    ),
    "STORE": (
        "stores",
        [
            ("cookie", ("cookie",)),
            ("shop.stores.Store", ("shop.stores.Store",)),
            (["cookie", "session"], ("cookie", "session")),
            (("session",), ("session",)),
        ],
        ("", [], None, 3, [""], ["cookie", None], {"cookie": True}),
    ),
    "COOKIE": (
        "cookie",
        [
            ({}, CookieSettings()),
            ({"NAME": "x"}, CookieSettings(name="x")),
            ({"PATH": "/shop/"}, CookieSettings(path="/shop/")),
            ({"DOMAIN": ".example.com"}, CookieSettings(domain=".example.com")),
            ({"DOMAIN": None}, CookieSettings()),
            ({"SECURE": False}, CookieSettings(secure=False)),
            ({"SECURE": None}, CookieSettings()),
            ({"HTTPONLY": False}, CookieSettings(httponly=False)),
            ({"SAMESITE": "Strict"}, CookieSettings(samesite="Strict")),
            ({"SAMESITE": "None"}, CookieSettings(samesite="None")),
            ({"SAMESITE": None}, CookieSettings(samesite=None)),
        ],
        (
            None,
            "rwrouter",
            [("NAME", "x")],
            {"NAME": ""},
            {"NAME": "my cookie"},
            {"NAME": "a;b"},
            {"NAME": "path"},
            *({"PATH": path} for path in (None, "", "shop/", "/a;b", "/a\nb", "/ü")),
            *({"DOMAIN": domain} for domain in ("", "a b", "a.com;", "a.com\r\n", "bücher.de", "a..b")),
            {"SECURE": "yes"},
            {"HTTPONLY": None},
            {"SAMESITE": "lax"},
            {"NAMES": "x"},
            {3: "x"},
        ),
    ),
    "HEADER": ("header", [("X-Seen", "X-Seen")], (*NOT_TEXT, "X Seen", "X-Seen:", "X-Gesehen-Ä")),
    "ZONE": ("zone", [("", ""), ("a", "a")], (None, 3, True, [])),
    "MONITOR": (
        "monitor",
        [
            ({}, MonitorSettings()),
            ({"MODE": "inline"}, MonitorSettings(mode="inline")),
            ({"MODE": "off"}, MonitorSettings(mode="off")),
            ({"INTERVAL": 2}, MonitorSettings(interval=2.0)),
            ({"TIMEOUT": 0.5}, MonitorSettings(timeout=0.5)),
            ({"SHARE": "none"}, MonitorSettings(share="none")),
            ({"SHARE": "cache:default"}, MonitorSettings(share="cache:default")),
        ],
        (
            *(None, "thread", {"MODE": "threads"}, {"MODE": None}, {"INTERVAL": 0}, {"TIMEOUTS": 1}),
            *({"SHARE": share} for share in (None, "hosts", "cache", "cache:", "cache:elsewhere", ["host"])),
        ),
    ),
    "STATS": (
        "stats",
        [
            ({}, StatsSettings()),
            ({"BACKEND": "off"}, StatsSettings(backend="off")),
            ({"FLUSH_SECONDS": 1}, StatsSettings(flush_seconds=1.0)),
            ({"RETENTION_DAYS": 0.5}, StatsSettings(retention_days=0.5)),
        ],
        (None, "off", {"BACKEND": None}, {"FLUSH_SECONDS": 0}, {"RETENTION_DAYS": -1}, {"FLUSH": 1}),
    ),
    "PRIMARY": ("primary", [("sales", "sales")], NOT_TEXT),
    "REPLICAS": (
        "replicas",
        [
            ([], ()),
            (["replica1"], (ReplicaSettings(alias="replica1"),)),
            (("replica1",), (ReplicaSettings(alias="replica1"),)),
            (
                {"replica1": {"LABEL": "db2, Seoul"}, "replica2": {"WEIGHT": 3, "ZONE": "a"}},
                (
                    ReplicaSettings(alias="replica1", label="db2, Seoul"),
                    ReplicaSettings(alias="replica2", weight=3.0, zone="a"),
                ),
            ),
            (
                {"replica1": {"EXCEPT": ["shop.Order", "logs"]}, "replica2": {"DELAYED": True}},
                (
                    ReplicaSettings(alias="replica1", excepted=frozenset({"shop.order", "logs"})),
                    ReplicaSettings(alias="replica2", delayed=True),
                ),
            ),
        ],
        (
            "replica1",
            None,
            3,
            [3],
            [["replica1"]],
            {"replica1": None},
            {"replica1": 3},
            {3: {}},
            {"replica1": {"WEIGHTS": 3}},
            {"replica1": {"WEIGHT": 0}},
            {"replica1": {"ZONE": None}},
            {"replica1": {"LABEL": 2}},
            {"replica1": {"EXCEPT": "shop"}},
            {"replica1": {"DELAYED": 1}},
        ),
    ),
    "CONSISTENCY": (
        "consistency",
        [(level.value, level) for level in Level if level is not Level.BOUNDED],
        ("", "windows", "Window", None, 3, True, ["window"]),
    ),
    "PIN_SECONDS": ("pin_seconds", [(3, 3.0), (0.5, 0.5)], A_NUMBER_ABOVE_0),
    "TOKEN_SECONDS": ("token_seconds", [(60, 60.0)], A_NUMBER_ABOVE_0),
    "BALANCER": ("balancer", [("shop.Balancer", "shop.Balancer")], NOT_TEXT),
    "REPLICA_PER": (
        "replica_per",
        [("request", "request"), ("query", "query")],
        ("", "queries", None, 1),
    ),
    "PRIMARY_ONLY": (
        "primary_only",
        [
            ([], frozenset()),
            (["Shop", "auth.User"], {"shop", "auth.user"}),
            ({"shop"}, {"shop"}),
            (("shop",), {"shop"}),
        ],
        NOT_LABELS,
    ),
    "UNSAFE_VIEWS": (
        "unsafe_views",
        [
            ([], ()),
            (["app:ping", "/ping/"], ("app:ping", "/ping/")),
            (("ping",), ("ping",)),
        ],
        ("ping", "/ping/", None, 3, [3], [""], [None], ["ping/"], ["a/b"]),
    ),
    "OUTSIDE_REQUEST": (
        "outside_request",
        [("primary", "primary"), ("replica", "replica")],
        ("", "replicas", None, True),
    ),
    "REPLICA_SESSION": (
        "replica_session",
        [("project.databases.follow", "project.databases.follow"), (None, None)],
        ("follow", "", "a b.c", 3, True, []),
    ),
    "READ_ONLY_SESSIONS": ("read_only_sessions", [(True, True), (False, False)], NOT_A_FLAG),
    "WAIT_TIMEOUT": (
        "wait_timeout",
        [(0, 0.0), (0.0, 0.0), (0.2, 0.2)],
        (-0.1, "0", None, False, True, float("nan")),
    ),
    "MAX_LAG": ("max_lag", [(2, 2.0)], A_NUMBER_ABOVE_0),
    "SPILL_LIMIT": ("spill_limit", [(0, 0), (5, 5)], (-1, 1.5, "5", None, True, False)),
    "MONOTONIC_READS": ("monotonic_reads", [(True, True)], NOT_A_FLAG),
    "SYNC_REPLICAS": (
        "sync_replicas",
        [(0, 0), (2, 2), ("all", "all")],
        (-1, 1.5, "ALL", "2", None, True),
    ),
    "SYNC_TIMEOUT": ("sync_timeout", [(2, 2.0)], A_NUMBER_ABOVE_0),
}
GOOD = [(key, raw, value) for key, (_, good, _) in KEYS.items() for raw, value in good]
BAD = [(key, raw) for key, (_, _, bad) in KEYS.items() for raw in bad]


def test_the_table_has_every_key():
    assert KEYS.keys() == {*parser.GLOBAL_KEYS, *parser.CLUSTER_KEYS}


@pytest.mark.parametrize(("key", "raw", "value"), GOOD, ids=[f"{k}={r!r}" for k, r, _ in GOOD])
def test_a_good_value(key, raw, value):
    parsed = value_of(read_well({key: raw}), KEYS[key][0])
    assert parsed == value
    assert type(parsed) is type(value) or isinstance(parsed, frozenset)


@pytest.mark.parametrize(("key", "raw"), BAD, ids=[f"{k}={r!r}" for k, r in BAD])
def test_a_bad_value_is_explained(key, raw):
    problem = only_problem({key: raw})
    assert problem.id == "E003"
    assert key in problem.message
    assert repr(raw) in problem.message


def test_a_level_of_the_public_api_is_taken_for_its_name():
    assert read_well({"CONSISTENCY": Level.EVENTUAL}).clusters[0].consistency is Level.EVENTUAL


@pytest.mark.parametrize("number", [10**400, 1e10, 10**5000], ids=["no float", "no timeout", "no text"])
@pytest.mark.parametrize(
    "at", [("PIN_SECONDS",), ("WAIT_TIMEOUT",), ("MONITOR", "INTERVAL"), ("STATS", "FLUSH_SECONDS")], ids=str
)
def test_a_number_that_nothing_can_wait_for_is_explained(at, number):
    raw = number
    for key in reversed(at):
        raw = {key: raw}
    problem = only_problem(raw)
    assert problem.id == "E003"
    assert f"RWROUTER['{at[0]}'] " in problem.message
    assert "1000000000" in problem.message


class Odd:
    """Raises whatever is done with it."""

    def __repr__(self):
        raise RuntimeError("no text")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __bool__(self):
        raise RuntimeError("no truth")

    __hash__ = object.__hash__


class Wordless(Odd):
    """Says nothing of what is wrong."""

    def __eq__(self, other):
        raise ValueError

    __bool__ = __iter__ = __len__ = __eq__
    __hash__ = object.__hash__


ODD = {
    "raising": Odd(),
    "signalling": Decimal("sNaN"),
    "raising without a word": Wordless(),
    "too many digits": [10**5000],
    "long": "x" * 100_000,
    "lazy object": SimpleLazyObject(lambda: " "),
    "lazy text": gettext_lazy("a"),
    "recursive": (recursive := {}),
}
recursive["a"] = recursive
TAKES_ANY_TEXT = {"ZONE", "STORE", "BALANCER", "PRIMARY", "HEADER"}
"""Keys whose strings are looked up elsewhere, if at all."""


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("key", [*KEYS, "CLUSTERS"])
def test_no_value_is_too_odd_to_be_explained(key, value):
    settings, problems = read({key: value}, DATABASES)
    if settings is not None and key in TAKES_ANY_TEXT:
        return
    for problem in problems:
        assert f"RWROUTER['{key}']" in problem.message
        assert len(str(problem)) < 1000
    assert problems


def test_no_key_is_too_odd_to_be_explained():
    problems = problems_of({10**5000: 1, "CLUSTERS": {10**5000: {}}})
    assert {problem.id for problem in problems} == {"E002", "E003"}


def test_a_lazy_string_is_told_from_a_plain_one():
    problem = only_problem({"REPLICAS": {"replica1": {"LABEL": gettext_lazy("Seoul")}}})
    assert "LABEL 'Seoul', which is a lazy string, and must be a plain one" in problem.message


def test_without_keys_there_is_one_cluster_with_the_defaults():
    assert read_well({}) == Settings(clusters=(ClusterSettings(name="default"),))


def test_the_defaults_are_the_documented_ones():
    settings = read_well({})
    (cluster,) = settings.clusters
    assert settings.enabled is True
    assert settings.stores == ("cookie",)
    assert settings.cookie == CookieSettings(
        name="rwrouter", path="/", domain=None, secure=None, httponly=True, samesite="Lax"
    )
    assert settings.header == "X-Read-Your-Writes"
    assert settings.zone == ""
    assert settings.monitor == MonitorSettings(mode="thread", interval=1.0, timeout=1.0)
    assert settings.stats == StatsSettings(backend="database", flush_seconds=10.0, retention_days=7.0)
    assert cluster == ClusterSettings(
        name="default",
        primary="default",
        replicas=(),
        models=None,
        consistency=Level.WINDOW,
        pin_seconds=5.0,
        token_seconds=600.0,
        balancer="random",
        replica_per="request",
        primary_only=frozenset(),
        outside_request="primary",
        read_only_sessions=True,
        wait_timeout=0.05,
        max_lag=None,
        spill_limit=10,
        monotonic_reads=False,
        sync_replicas=0,
        sync_timeout=1.0,
    )


def test_nested_dicts_are_merged_with_their_defaults():
    settings = read_well({"COOKIE": {"NAME": "x"}, "STATS": {"BACKEND": "off"}})
    assert (settings.cookie.name, settings.cookie.samesite) == ("x", "Lax")
    assert (settings.stats.backend, settings.stats.retention_days) == ("off", 7.0)


def test_nothing_of_the_raw_setting_is_kept():
    raw = {"REPLICAS": {"replica1": {"WEIGHT": 2}}, "PRIMARY_ONLY": ["shop"]}
    settings = read_well(raw)
    raw["REPLICAS"]["replica1"]["WEIGHT"] = 9
    raw["PRIMARY_ONLY"].append("auth")
    assert settings.clusters[0].replicas == (ReplicaSettings(alias="replica1", weight=2.0),)
    assert settings.clusters[0].primary_only == {"shop"}


# --- the whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, [], "replica1", 3, True], ids=repr)
def test_what_is_no_dict_is_explained(raw):
    problem = only_problem(raw)
    assert problem.id == "E001"
    assert repr(raw) in problem.message
    assert "RWROUTER" in problem.hint


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("PIN_SECOND", "PIN_SECONDS"),
        ("replicas", "REPLICAS"),
        ("REPLICA", "REPLICAS"),
        ("CONSISTANCY", "CONSISTENCY"),
        ("CLUSTER", "CLUSTERS"),
        ("STORES", "STORE"),
    ],
)
def test_an_unknown_key_is_reported_with_the_nearest_right_name(key, nearest):
    problem = only_problem({key: ["replica1"]})
    assert problem.id == "E002"
    assert repr(key) in problem.message
    assert problem.hint == f"Did you mean {nearest!r}?"


@pytest.mark.parametrize("key", ["XYZ", 3, ("a", "b")], ids=repr)
def test_an_unknown_key_like_no_other_is_reported_with_all_that_are_known(key):
    problem = only_problem({key: 1})
    assert problem.id == "E002"
    assert repr(key) in problem.message
    assert "PIN_SECONDS" in problem.hint


@pytest.mark.parametrize(
    ("raw", "nearest"),
    [
        ({"COOKIE": {"NAMES": "x"}}, "NAME"),
        ({"STATS": {"FLUSH_SECOND": 1}}, "FLUSH_SECONDS"),
        ({"MONITOR": {"mode": "off"}}, "MODE"),
        ({"MONITOR": {"SHARE": "hosts"}}, "host"),
        ({"MONITOR": {"SHARE": "cache:defualt"}}, "default"),
        ({"REPLICAS": {"replica1": {"WEIGTH": 1}}}, "WEIGHT"),
        ({"CONSISTENCY": "windows"}, "window"),
        ({"ENABLED": "shadwo"}, "shadow"),
        ({"COOKIE": {"SAMESITE": "lax"}}, "Lax"),
    ],
    ids=str,
)
def test_the_nearest_right_name_is_said_inside_values_too(raw, nearest):
    problem = only_problem(raw)
    assert repr(nearest) in str(problem)
    assert f"did you mean {nearest.lower()!r}?" in str(problem).lower()
    assert "?." not in str(problem)


def test_everything_that_is_wrong_is_reported_at_once():
    problems = problems_of({"PIN_SECOND": 1, "ENABLED": "no", "REPLICAS": ["replica9"]})
    assert [problem.id for problem in problems] == ["E002", "E003", "E005"]


# --- aliases and roles --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "key", "alias", "nearest"),
    [
        ({"REPLICAS": ["replcia1"]}, "REPLICAS", "replcia1", "replica1"),
        ({"REPLICAS": {"Replica2": {}}}, "REPLICAS", "Replica2", "replica2"),
        ({"PRIMARY": "defualt"}, "PRIMARY", "defualt", "default"),
        (
            {"CLUSTERS": {"a": {"PRIMARY": "sale", "REPLICAS": ["replica1"]}}},
            "PRIMARY",
            "sale",
            "sales",
        ),
    ],
    ids=str,
)
def test_an_unknown_alias_is_reported_with_its_key_and_the_nearest_right_name(raw, key, alias, nearest):
    problem = only_problem(raw)
    assert problem.id == "E005"
    assert f"[{key!r}]" in problem.message
    assert repr(alias) in problem.message
    assert problem.hint == f"Did you mean {nearest!r}?"


def test_an_alias_is_another_object_than_the_code_s():
    """Python interns the strings of the code, and Django each alias whose connection it opens."""
    computed = f"replica{len(DATABASES)}"
    settings, _problems = read({"REPLICAS": [computed]}, ("default", computed))
    [replica] = settings.clusters[0].replicas
    setattr(SimpleNamespace(), replica.alias, None)
    assert sys.intern(f"replica{len(DATABASES)}") is not replica.alias == computed


def test_the_case_of_an_alias_is_kept_in_the_hint():
    _settings, (problem,) = read({"REPLICAS": ["readreplica"]}, ["default", "ReadReplica"])
    assert problem.hint == "Did you mean 'ReadReplica'?"


def test_an_unknown_alias_like_no_other_is_reported_with_all_aliases():
    problem = only_problem({"REPLICAS": ["xyz"]})
    assert problem.id == "E005"
    for alias in DATABASES:
        assert alias in problem.hint


@pytest.mark.parametrize(
    ("raw", "alias"),
    [
        ({"REPLICAS": ["default"]}, "default"),
        ({"REPLICAS": ["replica1", "replica1"]}, "replica1"),
        ({"CLUSTERS": {"a": {}, "b": {"MODELS": ["shop"]}}}, "default"),
        (
            {"CLUSTERS": {"a": {"REPLICAS": ["sales"]}, "b": {"PRIMARY": "sales", "MODELS": ["b"]}}},
            "sales",
        ),
        (
            {
                "REPLICAS": ["replica1"],
                "CLUSTERS": {"a": {}, "b": {"PRIMARY": "sales", "MODELS": ["b"]}},
            },
            "replica1",
        ),
    ],
    ids=str,
)
def test_an_alias_in_two_roles_is_reported(raw, alias):
    problem = only_problem(raw)
    assert problem.id == "E006"
    assert repr(alias) in problem.message
    assert problem.hint


# --- clusters -----------------------------------------------------------------------------------

TWO = {
    "main": {"REPLICAS": ["replica1", "replica2"]},
    "sales": {"PRIMARY": "sales", "REPLICAS": ["sales1"], "MODELS": ["sales", "auth.User"]},
}


def test_clusters_have_their_own_primaries_replicas_and_models():
    main, sales = read_well({"CLUSTERS": TWO}).clusters
    assert (main.name, main.primary, main.models) == ("main", "default", None)
    assert [replica.alias for replica in main.replicas] == ["replica1", "replica2"]
    assert (sales.name, sales.primary) == ("sales", "sales")
    assert sales.models == {"sales", "auth.user"}


def test_the_keys_beside_clusters_are_the_defaults_of_every_cluster():
    raw = {
        "PIN_SECONDS": 7,
        "CONSISTENCY": "eventual",
        "STORE": "session",
        "CLUSTERS": {"main": TWO["main"], "sales": {**TWO["sales"], "PIN_SECONDS": 9}},
    }
    settings = read_well(raw)
    assert settings.stores == ("session",)
    assert [cluster.pin_seconds for cluster in settings.clusters] == [7.0, 9.0]
    assert {cluster.consistency for cluster in settings.clusters} == {Level.EVENTUAL}


@pytest.mark.parametrize("key", sorted(parser.GLOBAL_KEYS))
def test_what_belongs_to_the_whole_may_stand_only_there(key):
    problem = only_problem({"CLUSTERS": {"main": {key: KEYS[key][1][0][0]}}})
    assert problem.id == "E004"
    assert f"RWROUTER['CLUSTERS']['main'][{key!r}]" in problem.message
    assert f"RWROUTER[{key!r}]" in problem.hint


@pytest.mark.parametrize("raw", [{"MODELS": ["shop"]}, {"MODELS": ["shop"], "CLUSTERS": TWO}], ids=str)
def test_models_belong_into_a_cluster(raw):
    problem = only_problem(raw)
    assert problem.id == "E004"
    assert "MODELS" in problem.message
    assert "CLUSTERS" in problem.hint


@pytest.mark.parametrize("raw", [{}, [], "main", 3, ["main"]], ids=repr)
def test_clusters_must_be_a_dict_with_something_in_it(raw):
    problem = only_problem({"CLUSTERS": raw})
    assert problem.id == "E003"
    assert "CLUSTERS" in problem.message
    assert problem.hint


@pytest.mark.parametrize(
    "raw", [{"main": None}, {"main": ["replica1"]}, {"": {}}, {3: {}}, {None: {}}], ids=repr
)
def test_a_cluster_must_be_a_dict_under_a_name(raw):
    problem = only_problem({"CLUSTERS": raw})
    assert problem.id == "E003"
    assert repr(next(iter(raw))) in problem.message


@pytest.mark.parametrize("models", NOT_LABELS, ids=repr)
def test_models_must_be_labels(models):
    problem = only_problem({"CLUSTERS": {"main": {"MODELS": models}}})
    assert problem.id == "E003"
    assert "RWROUTER['CLUSTERS']['main']['MODELS']" in str(problem)


def test_an_unknown_key_of_a_cluster_is_reported_with_its_place():
    problem = only_problem({"CLUSTERS": {"main": {"MODEL": ["shop"]}}})
    assert problem.id == "E002"
    assert "RWROUTER['CLUSTERS']['main']" in problem.message
    assert problem.hint == "Did you mean 'MODELS'?"


def test_one_cluster_alone_may_lack_models():
    problem = only_problem({"CLUSTERS": {"a": {}, "b": {"PRIMARY": "sales"}, "c": {"PRIMARY": "sales1"}}})
    assert problem.id == "E007"
    for name in "abc":
        assert repr(name) in problem.message


def test_all_clusters_may_have_models():
    clusters = {"a": {"MODELS": ["shop"]}, "b": {"PRIMARY": "sales", "MODELS": ["shop.Order"]}}
    assert [cluster.models for cluster in read_well({"CLUSTERS": clusters}).clusters] == [
        {"shop"},
        {"shop.order"},
    ]


@pytest.mark.parametrize(("first", "second"), [("shop", "Shop"), ("shop.Order", "shop.order")])
def test_a_model_belongs_to_one_cluster(first, second):
    clusters = {"a": {"MODELS": [first]}, "b": {"PRIMARY": "sales", "MODELS": [second]}}
    problem = only_problem({"CLUSTERS": clusters})
    assert problem.id == "E007"
    assert repr(first.lower()) in problem.message
    assert "'a' and 'b'" in problem.message


# --- where nothing is configured ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "inert"),
    [
        ({}, True),
        ({"REPLICAS": []}, True),
        ({"PIN_SECONDS": 3, "ENABLED": False}, True),
        ({"CLUSTERS": {"a": {}}}, True),
        ({"REPLICAS": ["replica1"]}, False),
        ({"REPLICAS": ["replica1"], "ENABLED": False}, False),
        ({"PRIMARY": "sales"}, False),
        ({"CLUSTERS": {"a": {}, "b": {"PRIMARY": "sales", "MODELS": ["b"]}}}, False),
    ],
    ids=str,
)
def test_it_is_inert_without_replicas_and_other_primaries(raw, inert):
    assert read_well(raw).inert is inert


# --- the settings in force ----------------------------------------------------------------------


def test_the_settings_are_read_once(settings):
    settings.RWROUTER = {"PIN_SECONDS": 3}
    assert get_settings() is get_settings()


def test_the_settings_are_read_again_after_a_change(settings):
    settings.RWROUTER = {"PIN_SECONDS": 3}
    assert get_settings().clusters[0].pin_seconds == 3.0
    settings.RWROUTER = {"PIN_SECONDS": 4}
    assert get_settings().clusters[0].pin_seconds == 4.0


def test_a_change_of_another_setting_does_not_matter(settings):
    before = get_settings()
    settings.TIME_ZONE = "Europe/Berlin"
    assert get_settings() is before


def test_a_project_without_the_setting_is_inert(settings):
    settings.RWROUTER = {"PRIMARY": "replica1"}  # Told to Django's signal; a deletion is not.
    del settings.RWROUTER
    assert get_settings().inert


def test_a_project_without_databases_is_inert(settings, monkeypatch):
    settings.RWROUTER = {}
    for alias in list(settings.DATABASES):
        monkeypatch.delitem(settings.DATABASES, alias)
    assert get_settings().inert


def test_wrong_settings_raise_with_all_that_is_wrong(settings):
    settings.RWROUTER = {"PIN_SECOND": 3, "REPLICAS": ["replcia1"]}
    with pytest.raises(ImproperlyConfigured) as caught:
        get_settings()
    for word in ("PIN_SECOND", "'PIN_SECONDS'", "replcia1", "'replica1'"):
        assert word in str(caught.value)


def test_wrong_settings_raise_again_and_good_ones_help(settings):
    settings.RWROUTER = []
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="must be a dict"):
            get_settings()
    settings.RWROUTER = {}
    assert get_settings().inert


def test_nothing_is_written_into_the_setting(settings):
    raw = {"REPLICAS": ["replica1"]}
    settings.RWROUTER = raw
    get_settings()
    assert raw == {"REPLICAS": ["replica1"]}
    assert settings.RWROUTER is raw
