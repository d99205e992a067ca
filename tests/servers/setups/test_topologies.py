"""Ways of replicating other than from one primary to each replica, and what the doctor says of them."""

import contextlib
import time
from unittest.mock import patch

import pytest
from django.db import connections

from django_rwrouter import current_token, process, routing_scope
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.monitor import lifecycle
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from launcher.postgresql import PostgreSQLCluster
from launcher.postgresql_data import literal
from tests.app.models import Book
from tests.patience import until
from tests.servers.product import on
from tests.servers.products.conftest import attach, lead_to
from tests.servers.products.settings import REPLICAS
from tests.servers.setups.conftest import ROUNDS, new_cluster, prepare, stale_reads


@contextlib.contextmanager
def clean(cluster, rwrouter):
    """The cluster, healthy and level, at ``causal``; no monitor looks after it."""
    attach(cluster)
    cluster.restore()
    Book.objects.all().delete()
    cluster.wait_all(timeout=30.0)
    connections.close_all()
    process.reset()
    rwrouter(MONITOR={"MODE": "off"}, BALANCER="round_robin", CONSISTENCY="causal", WAIT_TIMEOUT=5.0)
    try:
        with contextlib.ExitStack() as stack:
            for alias in REPLICAS:  # No wait is longer than half of the driver's own.
                options = connections.settings[alias]["OPTIONS"]
                if "read_timeout" in options:
                    stack.enter_context(patch.dict(options, {"read_timeout": 20}))
            yield cluster
    finally:
        connections.close_all()
        process.reset()


@pytest.fixture
def mariadb(clusters, django_db_blocker, rwrouter):
    with django_db_blocker.unblock(), clean(clusters("mariadb"), rwrouter) as cluster:
        yield cluster


@pytest.fixture
def postgresql(clusters, django_db_blocker, rwrouter):
    with django_db_blocker.unblock(), clean(clusters("postgresql"), rwrouter) as cluster:
        yield cluster


def read_on(routed):
    return {decision.alias for decision in routed if decision.operation == "read"}


def doctor(*severities):
    """What is not in order once replicas have caught up: messages by alias, topic and severity."""
    deadline = time.monotonic() + 20
    while True:
        findings = examine(get_topology().clusters["default"], timeout=5.0)
        found = {
            (finding.alias, finding.topic, finding.severity.value): finding.message
            for finding in findings
            if finding.severity.value in (severities or ("warning", "error"))
        }
        if not any(topic == "position" for _alias, topic, _severity in found) or time.monotonic() > deadline:
            return found


@contextlib.contextmanager
def replicating(cluster, replica, change, back):
    """Change how a replica of MariaDB replicates; it has connected again when the block begins and ends."""

    def replicate(changed):
        cluster._stop_replication(replica)
        replica.sql(f"{changed}; START REPLICA")
        until(lambda: replica.replication_status()["Slave_IO_Running"] == "Yes")

    replicate(change)
    try:
        yield
    finally:
        replicate(back)


# --- what the levels promise ----------------------------------------------------------------------


def nothing_is_stale(cluster, routed):
    """Both replicas answer once they receive: one that has just connected is sent nothing for a while."""
    Book.objects.create(title="the first that is sent")
    cluster.wait_all(timeout=30.0)
    assert stale_reads() == 0
    assert read_on(routed) == set(REPLICAS)


def test_a_replica_of_a_replica(mariadb, routed):
    first, second = mariadb.replicas
    mariadb._follow(second, first, 10)
    try:
        nothing_is_stale(mariadb, routed)
        assert doctor() == {}
    finally:
        mariadb._follow(second, mariadb.primary, 10)


@pytest.mark.product("postgresql")
def test_a_standby_of_a_standby(postgresql, routed):
    first, second = postgresql.replicas

    def follow(source):
        second.configure(primary_conninfo=postgresql._connection(second, source))
        wanted = {"status": "streaming", "primary_port": str(source.port)}
        until(lambda: wanted.items() <= second.replication_status().items())

    follow(first)
    try:
        nothing_is_stale(postgresql, routed)
        assert doctor() == {}
    finally:
        follow(postgresql.primary)


@pytest.mark.product("postgresql")
def test_a_commit_that_waits_until_standbys_have_applied_it_is_seen_by_all(postgresql, rwrouter, routed):
    """Even at ``eventual``; ``causal`` then never waits."""
    rwrouter(CONSISTENCY="eventual")
    names = ", ".join(replica.name for replica in postgresql.replicas)
    waits = {"synchronous_standby_names": f"FIRST 2 ({names})", "synchronous_commit": "remote_apply"}
    postgresql.primary.configure(**waits)
    try:
        connections.close_all()
        nothing_is_stale(postgresql, routed)
        rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.0)
        routed.clear()
        assert stale_reads() == 0
        reads = [decision.alias for decision in routed if decision.operation == "read"]
        # PostgreSQL logs a little of its own now and then, which a position covers and no commit waits for.
        assert reads.count("default") <= ROUNDS / 10
        assert doctor() == {}
    finally:
        postgresql.primary.configure(synchronous_standby_names="", synchronous_commit="on")


def test_replicas_by_file_and_offset_have_positions_as_well(mariadb, routed):
    by_file = "CHANGE MASTER TO MASTER_USE_GTID = no, MASTER_HEARTBEAT_PERIOD = 1"
    by_gtid = "CHANGE MASTER TO MASTER_USE_GTID = slave_pos, MASTER_HEARTBEAT_PERIOD = 1"
    with contextlib.ExitStack() as stack:
        for replica in mariadb.replicas:
            stack.enter_context(replicating(mariadb, replica, by_file, by_gtid))
        assert {replica.replication_status()["Using_Gtid"] for replica in mariadb.replicas} == {"No"}
        nothing_is_stale(mariadb, routed)
        assert doctor().keys() == {(alias, "replication", "warning") for alias in REPLICAS}


def test_several_domains(mariadb, routed):
    """Somebody else writes in a domain of his own, with numbers of his own."""
    for _ in range(3):
        mariadb.primary.sql("SET gtid_domain_id = 7; CREATE OR REPLACE TABLE rwrouter.other (id INT)")
    nothing_is_stale(mariadb, routed)
    assert "7-1-" in mariadb.position()
    # A client's position has both: a replica that lacks either has not reached it.
    first, second = mariadb.replicas
    with (
        replicating(
            mariadb,
            first,
            "CHANGE MASTER TO IGNORE_DOMAIN_IDS = (7)",
            "CHANGE MASTER TO IGNORE_DOMAIN_IDS = ()",
        ),
        routing_scope(),
    ):
        mariadb.primary.sql("SET gtid_domain_id = 7; INSERT INTO rwrouter.other VALUES (1)")
        nothing_is_stale(mariadb, routed)
        assert second.sql("SELECT COUNT(*) FROM rwrouter.other") == [("1",)]


def test_parallel_replication(mariadb, routed):
    with contextlib.ExitStack() as stack:
        for replica in mariadb.replicas:
            stack.enter_context(
                replicating(
                    mariadb,
                    replica,
                    "SET GLOBAL slave_parallel_threads = 4, slave_parallel_mode = aggressive",
                    "SET GLOBAL slave_parallel_threads = 0, slave_parallel_mode = optimistic",
                )
            )
        nothing_is_stale(mariadb, routed)
        assert doctor() == {}


# --- what only the doctor can tell ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "left_out"),
    [
        ("replicate_do_db", "another", True),
        ("replicate_ignore_db", "rwrouter", True),
        ("replicate_wild_do_table", "rwrouter.auth%", True),
        ("replicate_ignore_table", "rwrouter.app_book", True),
        ("replicate_do_db", "another,rwrouter", False),
        ("replicate_wild_ignore_table", "rwrouter.log%", False),
    ],
)
def test_a_filter_that_leaves_tables_out(mariadb, variable, value, left_out):
    first, _second = mariadb.replicas
    with replicating(mariadb, first, f"SET GLOBAL {variable} = '{value}'", f"SET GLOBAL {variable} = ''"):
        found = doctor()
        assert found.keys() == ({("replica1", "filters", "error")} if left_out else set())
        assert all(variable in message and "app_book" in message for message in found.values())


def test_a_filter_that_the_settings_name_is_meant(mariadb, rwrouter):
    rwrouter(REPLICAS={"replica1": {"EXCEPT": ["app.Book", "app.Comic"]}, "replica2": {}})
    first, _second = mariadb.replicas
    variable = "replicate_ignore_table"
    with replicating(
        mariadb, first, f"SET GLOBAL {variable} = 'rwrouter.app_book'", f"SET GLOBAL {variable} = ''"
    ):
        assert doctor() == {}


@pytest.mark.parametrize("read_only", ["ON", "OFF"])
@pytest.mark.parametrize("privileged", [True, False])
def test_a_primary_and_a_replica_in_each_others_place(mariadb, read_only, privileged):
    """Also where nothing is read-only, and where threads are secret: then MariaDB tells whether they run."""
    first, _second = mariadb.replicas
    if not privileged:
        mariadb.primary.sql("REVOKE REPLICA MONITOR ON *.* FROM rwrouter@'%'")
        mariadb.wait_all()
    first.sql(f"SET GLOBAL read_only = {read_only}")
    try:
        attach(mariadb, ["replica1", "default", "replica2"])
        message = doctor("error")["default", "roles", "error"]
        assert "'replica1'" in message
    finally:
        first.sql("SET GLOBAL read_only = ON")
        if not privileged:
            mariadb.primary.sql("GRANT REPLICA MONITOR ON *.* TO rwrouter@'%'")
            mariadb.wait_all()


def test_two_servers_that_follow_each_other_are_in_their_places(mariadb):
    first, _second = mariadb.replicas
    mariadb._follow(mariadb.primary, first, 10)
    try:
        assert not doctor("error")
    finally:
        # It keeps a position of that, as every server does that was promoted.
        mariadb.primary.sql("STOP REPLICA; RESET REPLICA ALL")


@pytest.mark.product("postgresql")
def test_a_standby_in_its_primarys_place(postgresql):
    attach(postgresql, ["replica1", "default", "replica2"])
    assert "'replica1'" in doctor("error")["default", "roles", "error"]


# --- a copy that has no position ------------------------------------------------------------------


@pytest.fixture
def subscriber(django_db_setup, django_db_blocker, rwrouter):
    """A primary and a standby; the second replica subscribes to the primary's table of books."""
    options = ["--wal-level=logical"]
    with (
        PostgreSQLCluster(replicas=1, options=options) as cluster,
        PostgreSQLCluster(replicas=0) as copy,
        django_db_blocker.unblock(),
    ):
        prepare(copy)
        prepare(cluster)
        cluster.primary.sql(
            "GRANT pg_monitor TO rwrouter; GRANT SELECT ON app_book TO replication;"
            "CREATE PUBLICATION books FOR TABLE app_book"
        )
        source = cluster._connection(cluster.replicas[0], cluster.primary)
        copy.primary.sql(
            f"CREATE SUBSCRIPTION books CONNECTION {literal(source + ' dbname=rwrouter')} PUBLICATION books"
        )
        with clean(cluster, rwrouter):
            rwrouter(REPLICAS={"replica1": {}, "replica2": {"EXCEPT": ["auth"]}})
            lead_to("replica2", copy.primary)
            yield copy.primary


def read():
    with routing_scope(safe=True):
        return Book.objects.filter(title="early").exists()


@pytest.mark.product("postgresql")
def test_a_logical_subscriber_takes_eventual_reads_alone(subscriber, rwrouter, routed):
    assert stale_reads() == 0
    assert read_on(routed) == {"replica1"}
    routed.clear()
    rwrouter(CONSISTENCY="window")
    Book.objects.create(title="early")
    until(lambda: read() and routed[-1].alias == "replica1")  # The standby may have it a moment later.
    routed.clear()
    assert all(read() for _ in range(8))
    assert read_on(routed) == {"replica1"}
    until(lambda: subscriber.sql("SELECT 1 FROM app_book WHERE title = 'early'"))
    assert doctor().keys() == {
        ("replica2", "replication", "warning"),
        ("replica2", "read_only", "warning"),
    }
    rwrouter(CONSISTENCY="eventual", MONITOR={"INTERVAL": 0.1, "TIMEOUT": 2.0})
    lifecycle._monitor.in_tests = True
    try:
        until(lambda: read() and health.watched and knowledge.last_server("replica2"))
        routed.clear()
        assert all(read() for _ in range(8))
    finally:
        lifecycle._monitor.in_tests = False
    assert read_on(routed) == set(REPLICAS), "a monitor takes it for no replica"


# --- another primary ------------------------------------------------------------------------------


@pytest.mark.parametrize("product", on("mariadb", "postgresql"))
def test_a_promotion_and_the_return_of_the_old_primary(
    product, django_db_setup, django_db_blocker, rwrouter, routed
):
    """Clients go on, and what they wrote before still counts."""
    with new_cluster(product) as cluster, django_db_blocker.unblock():
        prepare(cluster)
        with clean(cluster, rwrouter):
            first, second = cluster.replicas
            former = cluster.primary
            assert stale_reads(8) == 0
            before = written("before")
            cluster.wait_all()
            former.kill()
            cluster.promote(first)
            cluster.follow(second, first)
            attach(cluster, ["default", "replica2"])
            lead_to("replica1", former)
            assert stale_reads(8) == 0
            assert sees("before", before)
            cluster.rejoin(former)
            connections.close_all()
            process.reset()  # The breaker of the first replica would wait.
            routed.clear()
            assert stale_reads(8) == 0
            assert read_on(routed) == set(REPLICAS)
            assert sees("before", before)
            assert not doctor("error")


def written(title):
    with routing_scope():
        Book.objects.create(title=title)
        return current_token()


def sees(title, token):
    with routing_scope(safe=True, token=token):
        return Book.objects.filter(title=title).exists()
