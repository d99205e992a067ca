"""A standby of PostgreSQL cancels reads that keep it from replaying: they are run again elsewhere."""

import pytest
from django.db import OperationalError, connections, transaction

from django_rwrouter import Reason, routing_scope, use_replica
from django_rwrouter.servers.health import health
from tests.app.models import Book
from tests.servers.product import on
from tests.servers.products.settings import REPLICAS
from tests.servers.products.test_lost_reads import chosen, meanwhile, other, places, server_of, slowly, titles

# Other products have no such conflicts.
pytestmark = pytest.mark.parametrize("product", on("postgresql"), indirect=True)


@pytest.fixture
def strict(cluster, routed):
    """Standbys that wait for nobody."""
    for server in cluster.replicas:
        server.configure(max_standby_streaming_delay="0", hot_standby_feedback="off")
    yield cluster
    for server in cluster.replicas:
        server.configure(max_standby_streaming_delay="30s")


def lock(cluster):
    """As ALTER TABLE does."""
    cluster.primary.sql("BEGIN; LOCK TABLE app_book IN ACCESS EXCLUSIVE MODE; COMMIT")


def remove_rows(cluster):
    """Rows that a query on the standby might still look at."""
    cluster.primary.sql("DELETE FROM app_book WHERE title <> 'old'")
    cluster.primary.sql("VACUUM app_book")


@pytest.mark.parametrize("act", [lock, remove_rows])
@pytest.mark.parametrize("both", [False, True], ids=["one standby", "both standbys"])
def test_the_read_is_run_again_elsewhere(strict, routed, act, both):
    """On the other standby, unless that has to cancel it, too: then on the primary."""
    Book.objects.create(title="new")
    strict.wait_all()
    with routing_scope(safe=True), use_replica():
        titles()
        alias = chosen(routed)
        first, second = server_of(strict, alias), server_of(strict, other(alias))
        before = connections[alias].connection

        def strike():
            first.wait(lambda: first.sessions("sleep("))
            later = second if both else first
            strict.pause(later.server)
            act(strict)
            if both:
                second.wait(lambda: second.sessions("sleep("))
            else:
                strict.wait(second.server)
            strict.resume(later.server)

        with meanwhile(strike):
            assert slowly(*(REPLICAS if both else [alias]))[0] == "old"
        assert places(routed) == [("default" if both else other(alias), Reason.FAILOVER)]
    strict.wait_all()  # What is replayed next might cancel the read below.
    # Neither server nor connection are the worse for it.
    assert not health.is_ejected(alias)
    assert connections[alias].connection is before
    assert Book.objects.using(alias).filter(title="old").exists()


def test_inside_a_transaction_it_raises(strict, routed):
    with routing_scope(safe=True), use_replica():
        titles()
        alias = chosen(routed)
        found = server_of(strict, alias)

        def strike():
            found.wait(lambda: found.sessions("sleep("))
            lock(strict)

        with meanwhile(strike), pytest.raises(OperationalError), transaction.atomic(using=alias):
            slowly(alias)
    assert not routed
