"""What the launchers of all products do alike."""

import os
import re
import signal

import pytest

from launcher.process import ServerError
from launcher.server import Server
from launcher.watchdog import children, proc_stat
from tests.patience import until
from tests.tooling.launcher.products import MARIADB, MYSQL, POSTGRESQL

PRODUCTS = [
    pytest.param(product, marks=pytest.mark.product(product.name)) for product in (MARIADB, MYSQL, POSTGRESQL)
]


@pytest.fixture(scope="module", params=PRODUCTS, ids=lambda product: product.name)
def product(request):
    return request.param


def test_a_row_arrives_on_every_replica(product, cluster):
    row = product.write(cluster)
    cluster.wait_all()
    assert [product.has(server, row) for server in cluster.servers] == [True, True, True]


def test_a_paused_replica_stands_still_until_it_is_resumed(product, cluster, replica):
    cluster.pause(replica)
    row = product.write(cluster)
    cluster.wait(cluster.replicas[1])
    with pytest.raises(TimeoutError, match=product.paused):
        cluster.wait(replica, timeout=0.2)
    assert [product.has(each, row) for each in cluster.replicas] == [False, True]
    cluster.resume(replica)
    cluster.wait(replica)
    assert product.has(replica, row)


def test_a_delayed_replica_catches_up_when_the_delay_is_taken_back(product, cluster, replica):
    cluster.delay(replica, 600)
    row = product.write(cluster)
    with pytest.raises(TimeoutError):
        cluster.wait(replica, timeout=0.2)
    assert not product.has(replica, row)
    cluster.delay(replica, 0)
    cluster.wait(replica)
    assert product.has(replica, row)


def test_a_disconnected_replica_receives_nothing_until_it_follows_again(product, cluster, replica):
    cluster.wait(replica)
    cluster.disconnect(replica)
    received = replica.replication_status()[product.received]
    row = product.write(cluster)
    cluster.wait(cluster.replicas[1])
    assert replica.replication_status()[product.received] == received
    cluster.follow(replica, cluster.primary)
    cluster.wait(replica)
    assert product.has(replica, row)


def test_the_application_writes_on_the_primary_and_reads_everywhere(product, cluster):
    url = cluster.primary.url()
    assert re.fullmatch(product.url, url)
    inserted = product.as_application(url, product.insert)
    assert inserted.returncode == 0, inserted.stderr
    cluster.wait_all()
    for replica in cluster.replicas:
        read = product.as_application(replica.url(), f"SELECT id FROM note WHERE id = {inserted.stdout}")
        assert (read.stdout, read.stderr) == (inserted.stdout, "")


@pytest.mark.parametrize("end", [Server.stop, Server.kill], ids=["stopped", "killed"])
def test_servers_come_back_with_their_data_and_replicate(product, cluster, replica, end):
    port = replica.port
    end(replica)
    assert not replica.is_running()
    old = product.write(cluster)
    end(cluster.primary)
    assert [server.is_running() for server in cluster.servers] == [False, False, True]
    with pytest.raises(ServerError, match=product.refused):
        cluster.primary.sql("SELECT 1")
    cluster.primary.start()
    replica.start()
    assert replica.port == port
    new = product.write(cluster)
    cluster.wait_all()
    assert all(product.has(server, row) for server in cluster.servers for row in (old, new))


def test_a_frozen_replica_hangs_until_it_is_thawed(product, cluster, replica):
    replica.freeze()
    assert replica.is_running()
    assert {proc_stat(pid)[0] for pid in [replica.pid, *children(replica.pid)]} == {"T"}
    row = product.write(cluster)
    with pytest.raises(TimeoutError, match=r"has not answered in 0.3 s"):
        replica.sql("SELECT 1", timeout=0.3)
    with pytest.raises(TimeoutError):
        cluster.wait(replica, timeout=0.1)
    replica.thaw()
    cluster.wait(replica)
    assert product.has(replica, row)


def test_a_frozen_replica_can_be_stopped(product, replica):
    replica.freeze()
    replica.stop()
    assert not replica.is_running()
    assert product.stopped in replica.log.read_text()


def test_a_server_killed_by_somebody_else_can_be_started(product, cluster, replica):
    os.kill(replica.pid, signal.SIGKILL)
    # It may stay in the process table as a zombie, until we ask.
    until(lambda: not replica.is_running(), "the killed server counts as running")
    replica.start()


def test_heal_undoes_everything(product, cluster):
    one, two = cluster.replicas
    cluster.pause(one)
    cluster.disconnect(one)
    one.kill()
    cluster.delay(two, 600)
    two.freeze()
    row = product.write(cluster)
    cluster.primary.kill()
    cluster.heal()
    assert [product.has(server, row) for server in cluster.servers] == [True, True, True]
