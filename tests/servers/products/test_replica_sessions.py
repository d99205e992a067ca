"""A search path that was set on the primary's session holds on the replicas, too."""

import pytest
from django.db import connection

from django_rwrouter import read_connection, routing_scope
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
            cursor.execute(statement)


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
