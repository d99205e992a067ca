"""``manage.py rwrouter drain`` and its like."""

import getpass
import io
import json
import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from django_rwrouter import stats
from django_rwrouter.management.subcommands import status
from django_rwrouter.operations import overrides
from django_rwrouter.operations.override_table import OverrideKind
from django_rwrouter.servers.health import health
from django_rwrouter.stats.table import RoutingStatistics

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def _databases(databases):
    """Each test changes them."""


def rwrouter(*arguments):
    output = io.StringIO()
    call_command("rwrouter", *arguments, stdout=output, no_color=True)
    return output.getvalue()


def test_a_replica_is_drained_and_put_back():
    said = rwrouter("drain", "replica1", "--reason", "a new disk", "--by", "kim")
    assert said == "The replica “replica1” is drained. All processes follow within 2 s.\n"
    [override] = overrides.in_force()
    assert (override.kind, override.target, override.why) == (
        OverrideKind.DRAIN,
        "replica1",
        "a new disk (kim)",
    )
    assert rwrouter("undrain", "replica1").startswith("The replica “replica1” takes reads again.")
    assert overrides.in_force() == []
    assert rwrouter("undrain", "replica1") == "The replica “replica1” was not drained.\n"


def test_the_kill_switch_is_thrown_and_put_back():
    said = rwrouter("switch_off", "--reason", "stale reads")
    assert said == (
        "Everything of the cluster “default” goes to its primary. All processes follow within 2 s.\n"
    )
    [override] = overrides.in_force()
    assert (override.kind, override.target) == (OverrideKind.PRIMARY_ONLY, "default")
    assert override.by == getpass.getuser()
    assert rwrouter("switch_on").startswith("Replicas of the cluster “default” answer again.")
    assert rwrouter("switch_on", "default") == ("The kill switch of the cluster “default” was not thrown.\n")
    assert overrides.in_force() == []


def test_what_was_done_is_in_the_statistics_when_the_command_is_over():
    rwrouter("drain", "replica1")
    [row] = RoutingStatistics.objects.on_primary()
    assert row.data["events"] == [["replica_drained", "replica1", 1]]


def test_where_no_monitor_runs_it_says_that_nobody_looks(settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "MONITOR": {"MODE": "off"}}
    assert "so it has no effect" in rwrouter("drain", "replica1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["drain", "default"], "it cannot be drained", id="the primary"),
        pytest.param(["drain", "replica3"], "no replica 'replica3'", id="drain"),
        pytest.param(["undrain", "replica3"], "no replica 'replica3'", id="undrain"),
        pytest.param(["switch_off", "other"], "no cluster 'other'", id="switch_off"),
        pytest.param(["switch_on", "other"], "no cluster 'other'", id="switch_on"),
        pytest.param(["switch_on", "\udcff"], r"no cluster '\\udcff'", id="bytes"),
    ],
)
def test_an_unknown_name_is_an_error(arguments, message):
    with pytest.raises(CommandError, match=message):
        rwrouter(*arguments)


def test_where_nothing_is_routed_nothing_can_be_switched_off(settings):
    """The switch would lie in wait for the first replica."""
    settings.RWROUTER = {}
    with pytest.raises(CommandError, match="nothing is routed"):
        rwrouter("switch_off")
    assert overrides.in_force() == []


def test_what_no_database_keeps_is_replaced_in_a_reason():
    """A shell in another encoding passes bytes; a null character, SQLite keeps and PostgreSQL refuses."""
    rwrouter("drain", "replica1", "--reason", "f\udcfcr \0 Kim", "--by", "k\udcff")
    [override] = overrides.in_force()
    assert override.why == "f?r ? Kim (k?)"


def test_without_the_table_it_says_what_to_do():
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE django_rwrouter_routingoverride")
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        rwrouter("drain", "replica1")


def test_with_the_primary_away_it_says_so_and_not_where_that_is(monkeypatch, tmp_path):
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", str(tmp_path))
    with pytest.raises(CommandError, match="The primary 'default' could not be asked") as caught:
        rwrouter("drain", "replica1")
    assert str(tmp_path) not in str(caught.value)


# --- explain -------------------------------------------------------------------------------------


def test_a_read_is_explained_rule_by_rule():
    said = rwrouter("explain", "app.Book", "--token-age", "1.5")
    assert "  yes  A client that wrote a moment ago: The client wrote 1.5 s ago" in said
    assert "  -    Level “window”\n" in said
    assert said.endswith("-> default  pinned: the client wrote a moment ago\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param([], "window", id="GET"),
        pytest.param(["--method", "post"], "unsafe_method", id="POST"),
        pytest.param(["--outside"], "outside_scope", id="outside"),
        pytest.param(["--level", "eventual"], "eventual", id="level"),
        pytest.param(
            ["--method", "POST", "--level", "eventual", "--block", "consistency"], "eventual", id="block"
        ),
        pytest.param(["--block", "use_replica", "--wrote"], "use_replica", id="use_replica"),
        pytest.param(["--wrote"], "wrote_in_scope", id="wrote"),
        pytest.param(["--atomic"], "in_transaction", id="atomic"),
        pytest.param(["--from-primary"], "instance", id="from_primary"),
        pytest.param(["--write"], "write", id="write"),
        pytest.param(["--token-age", "6"], "window", id="token expired"),
    ],
)
def test_what_the_read_is_like_can_be_said(arguments, reason):
    said = json.loads(rwrouter("explain", "app.Book", "--json", *arguments))
    assert said["outcome"]["reason"] == reason
    assert said["model"] == "app.Book"
    assert said["cluster"] == "default"


def test_the_explanation_knows_what_is_drained_and_switched_off(caplog):
    overrides.drain("replica1")
    health.reset()
    caplog.clear()
    said = json.loads(rwrouter("explain", "app.Book", "--json"))
    assert said["outcome"]["among"] == ["replica2"]
    overrides.switch_off("default")
    health.reset()
    caplog.clear()
    said = json.loads(rwrouter("explain", "app.Book", "--json"))
    assert said["outcome"]["reason"] == "disabled"
    assert caplog.records == []


def test_the_question_may_be_asked_by_name(capsys):
    call_command("rwrouter", "explain", "app.Book", outside=True, json=True)
    assert json.loads(capsys.readouterr().out)["outcome"]["reason"] == "outside_scope"
    call_command("rwrouter", "explain", "app.Book", method="post", atomic=True, json=True)
    assert json.loads(capsys.readouterr().out)["outcome"]["reason"] == "in_transaction"


def test_it_explains_what_it_can_when_the_primary_is_away(monkeypatch, tmp_path):
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", str(tmp_path))
    errors = io.StringIO()
    output = io.StringIO()
    call_command("rwrouter", "explain", "app.Book", stdout=output, stderr=errors, no_color=True)
    assert "-> replica1 or replica2  window" in output.getvalue()
    assert "could not be asked what is drained" in errors.getvalue()
    assert str(tmp_path) not in errors.getvalue()


def test_an_unknown_model_is_an_error():
    with pytest.raises(CommandError, match=r"no model 'app\.Bok'\. Did you mean 'app\.Book'\?"):
        rwrouter("explain", "app.Bok")


def test_a_model_of_no_cluster_is_not_decided_here(settings):
    settings.RWROUTER = {"CLUSTERS": {"apart": {"PRIMARY": "other", "MODELS": ["auth"]}}}
    assert rwrouter("explain", "app.Book").endswith("-> not decided here\n")
    assert json.loads(rwrouter("explain", "app.Book", "--json"))["outcome"] is None


# --- status --------------------------------------------------------------------------------------


def test_the_status_is_a_table_for_each_cluster():
    overrides.drain("replica1", "a new disk", "kim")
    for alias, times in (("default", 1), ("replica2", 3)):
        for _ in range(times):
            stats.count_statement("default", alias, "read", "window", "", 0.001)
    stats.flush()
    heading, titles, *servers = rwrouter("status").splitlines()[:5]
    assert heading == "default  level window, reads are routed"
    assert titles.split() == [
        *("database", "role", "state", "since", "lag"),
        *("reads/s", "share", "weight", "p50", "p95", "writes/s", "errors"),
    ]
    assert [line.split()[:3] for line in servers] == [
        ["default", "unknown", "healthy"],
        ["replica1", "unknown", "drained"],
        ["replica2", "unknown", "healthy"],
    ]
    assert "75 %   100 %" in servers[2]
    assert "%" not in servers[1]


def test_below_it_is_what_needs_more_words():
    overrides.drain("replica1", "a new disk", "kim")
    overrides.switch_off("default", "stale reads", "lee")
    said = rwrouter("status")
    assert "switched off: all reads go to the primary" in said
    assert "by lee: stale reads" in said
    assert "  replica1: " in said
    assert "by kim: a new disk" in said
    assert said.endswith("No process has written lately what it knows of the servers.\n")


def test_what_a_machine_is_called_stands_below(settings):
    settings.RWROUTER = {"REPLICAS": {"replica1": {"LABEL": "db2, Seoul"}}}
    assert "  replica1: db2, Seoul\n" in rwrouter("status")


def test_colours_are_put_around_what_is_lined_up():
    output = io.StringIO()
    call_command("rwrouter", "status", stdout=output, force_color=True)
    plain = re.sub(r"\x1b\[[\d;]*m", "", output.getvalue())
    assert plain != output.getvalue()
    minutes = re.compile(r"[\d.]+ minutes")  # They pass meanwhile.
    assert minutes.sub("", plain) == minutes.sub("", rwrouter("status"))


SERVER = {
    *(
        "alias",
        "label",
        "is_primary",
        "role",
        "condition",
        "since",
        "why",
        "failure",
        "refused",
        "drained",
        "lag",
        "lag_at_least",
        "is_level",
    ),
    *(
        "position",
        "opinions",
        "weight_share",
        "reads",
        "reads_per_second",
        "share",
        "replica_share",
        "writes",
    ),
    *("writes_per_second", "p50_milliseconds", "p95_milliseconds", "errors"),
}


def test_the_form_for_programs_stays_as_it_is():
    overrides.drain("replica1", "a new disk", "kim")
    overrides.switch_off("default")
    stats.count_statement("default", "replica2", "read", "window", "", 0.001)
    stats.flush()
    said = json.loads(rwrouter("status", "--json"))
    assert said["reasons"] == {"window": 1}
    assert said.keys() == {
        *(
            "at",
            "processes",
            "statistics",
            "seconds",
            "reasons",
            "overrides_failure",
            "clusters",
            "ineffective",
        )
    }
    [cluster] = said["clusters"]
    assert cluster.keys() == {
        *("name", "level", "routing", "switched_off", "spilled", "degraded", "servers"),
    }
    assert [server.keys() for server in cluster["servers"]] == [SERVER] * 3
    assert cluster["servers"][1]["condition"] == "drained"
    assert cluster["servers"][1]["drained"].keys() == {"reason", "by", "at"}
    assert cluster["switched_off"].keys() == {"reason", "by", "at"}


def test_a_replica_that_is_away_is_shown_and_no_failure(servers):
    servers.kill("replica1")
    said = rwrouter("status")
    assert "replica1  unknown  unreachable" in said
    assert "replica1: it does not answer (OperationalError)" in said


def test_a_primary_that_is_away_is_one(monkeypatch, tmp_path):
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", str(tmp_path))
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("rwrouter", "status", stdout=output, no_color=True)
    assert ended.value.code == 1
    said = output.getvalue()
    assert "default   unknown  unreachable" in said
    assert "replica1  unknown  healthy" in said
    assert "No statistics: the primary that keeps them does not answer." in said
    assert "What is drained or switched off is not known" in said
    assert str(tmp_path) not in said


TYPED = "\x1b[2J\x1b]0;owned\x07all is well\n  default   primary  healthy"


def test_what_was_typed_cannot_steer_the_terminal_nor_forge_a_line(caplog):
    overrides.drain("replica1", reason=TYPED, by="kim\x1b[8m")
    overrides.switch_off("default", reason=TYPED, by="kim\x1b[8m")
    said = rwrouter("status")
    assert r"by kim\x1b[8m: \x1b[2J\x1b]0;owned\x07all is well\n default" in " ".join(said.split())
    assert "\x1b" not in said
    assert [line for line in said.splitlines() if line.startswith("  default   primary  healthy")] == []
    reasons = [record.why for record in caplog.records]
    assert reasons
    assert not any(character in reason for reason in reasons for character in "\x1b\x07\n")
    assert json.loads(rwrouter("status", "--json"))["clusters"][0]["switched_off"]["reason"] == TYPED


def test_an_override_without_effect_is_told(settings):
    overrides.drain("replica2")
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    assert "drain of 'replica2' has no effect, as the settings do not name it" in rwrouter("status")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timeout", "0"], "--timeout: 0 seconds are too few"),
        (["--minutes", "0"], "--minutes: '0' is not a number of minutes, from 1 to 60"),
        (["--watch", "0"], "--watch: 0 seconds are too few"),
        (["--watch", "--json"], "not allowed with"),
    ],
)
def test_what_the_status_cannot_work_with(arguments, message):
    with pytest.raises(CommandError, match=message):
        rwrouter("status", *arguments)


def test_it_is_shown_again_and_again_until_interrupted(monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", sleep)
    said = rwrouter("status", "--watch", "0.5")
    assert pauses == [0.5, 0.5, 0.5]
    assert said.count("default  level window") == 3
    assert "\x1b" not in said  # Not a terminal.


def test_a_project_that_configures_nothing_has_no_status(settings):
    settings.RWROUTER = {}
    with pytest.raises(CommandError, match="nothing is routed"):
        rwrouter("status")
