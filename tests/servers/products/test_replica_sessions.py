"""A search path that was set on the primary's session holds on the replicas, too."""

import pytest
from django.db import connection, transaction

from django_rwrouter import read_connection, routing_scope
from django_rwrouter.stats import recorder
from tests.servers.product import on
from tests.servers.products.settings import REPLICAS

# Of the products, PostgreSQL alone has a search path.
pytestmark = pytest.mark.parametrize("product", on("postgresql"), indirect=True)


def follow(primary, replica):
    with primary.cursor() as source, replica.cursor() as target:
        source.execute("SELECT current_setting('search_path')")
        target.execute("SELECT set_config('search_path', %s, false)", source.fetchone())


def run(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement.replace("{user}", connection.settings_dict["USER"]))


@pytest.fixture
def schemas(cluster, routed):
    for name in ("one", "two"):
        run(f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.tenant AS SELECT '{name}' AS name")
    cluster.wait_all()
    routed.clear()
    yield
    run("SET search_path = public", "DROP SCHEMA one CASCADE", "DROP SCHEMA two CASCADE")


def test_a_replica_answers_for_the_tenant_in_force(schemas, rwrouter, routed):
    rwrouter(REPLICA_SESSION=f"{__name__}.follow")
    with routing_scope(safe=True):
        for name in ("one", "two"):
            run(f"SET search_path = {name}")
            for _again in range(2):
                with read_connection().cursor() as cursor:
                    cursor.execute("SELECT name FROM tenant")
                    assert cursor.fetchall() == [(name,)]
    assert {decision.alias for decision in routed} <= set(REPLICAS)


def read_a_tenant():
    with read_connection().cursor() as cursor:
        cursor.execute("SELECT count(*) FROM one.tenant")


def differing():
    return sum(
        count
        for row in recorder._counters.take()
        for name, _alias, count in row.data["events"]
        if name == "session_differs"
    )


APART = {
    "a search path": ["SET search_path = one"],
    "for the session": ["SET SESSION search_path TO one, public"],
    "by a function": ["SELECT set_config('search_path', 'one', false)"],
    "a role": ["SET ROLE {user}"],
    "after it was set back": ["SET search_path = one", "RESET search_path", "set role {user}"],
}
AS_THE_LOGIN = {
    "nothing": [],
    "a time zone": ["SET TIME ZONE 'UTC'"],
    "set back": ["SET search_path = one", "RESET search_path"],
    "all set back": ["SET search_path = one", "RESET ALL"],
    "the default": ["SET search_path = one", "SET search_path TO DEFAULT"],
    "no role": ["SET ROLE {user}", "SET ROLE NONE"],
}


@pytest.fixture
def left_as_found(schemas):
    yield
    run("RESET search_path", "RESET ROLE")


@pytest.mark.parametrize("statements", APART.values(), ids=APART)
def test_a_session_of_the_primary_that_is_set_apart_is_told(left_as_found, caplog, statements):
    with routing_scope(safe=True):
        run(*statements)
        read_a_tenant()
        read_a_tenant()
    assert differing() == 2
    [record] = [each for each in caplog.records if "REPLICA_SESSION" in each.getMessage()]
    assert record.alias in REPLICAS


@pytest.mark.parametrize("statements", AS_THE_LOGIN.values(), ids=AS_THE_LOGIN)
def test_one_that_is_as_its_login_is_not(left_as_found, statements):
    with routing_scope(safe=True):
        run(*statements)
        read_a_tenant()
    assert differing() == 0


def test_what_ends_with_its_transaction_is_told_until_then(left_as_found):
    with routing_scope(safe=True):
        with transaction.atomic():
            run("SET LOCAL search_path = one")
        read_a_tenant()
    assert differing() == 0


def test_a_replica_whose_session_was_set_alike_is_not(left_as_found):
    with routing_scope(safe=True):
        run("SET search_path = one")
        replica = read_connection()
        with replica.cursor() as cursor:
            cursor.execute("SET search_path = one")
            cursor.execute("SELECT count(*) FROM tenant")
            cursor.execute("RESET search_path")
    assert differing() == 0


def test_a_function_that_follows_is_trusted(left_as_found, rwrouter):
    rwrouter(REPLICA_SESSION=f"{__name__}.follow")
    with routing_scope(safe=True):
        run("SET search_path = one")
        read_a_tenant()
    assert differing() == 0
