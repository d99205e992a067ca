"""The statistics' writer never costs a site on SQLite a write."""

import sqlite3
import threading
from contextlib import closing

import pytest
from django.db import connection, connections, transaction

from django_rwrouter.databases.base import Busy
from django_rwrouter.databases.sqlite import gate
from django_rwrouter.scope.context import silenced
from django_rwrouter.stats.backends import DatabaseBackend, temporary_connection
from django_rwrouter.stats.table import RoutingStatistics
from tests.app.models import Book
from tests.settings import DATABASES
from tests.sqlite.test_statistics_backend import row

FILE = DATABASES["default"]["NAME"]


@pytest.fixture(params=["delete", "wal"])
def journal(request, databases):
    """Both ways to keep SQLite's journal; a transaction that has read fails in another way in each."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA journal_mode = {request.param}")
    connections.close_all()
    yield request.param
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = delete")


def write():
    """Write as the flusher's thread does; return whether it was put off."""
    put_off = []

    def run():
        try:
            with silenced():
                DatabaseBackend().write("a" * 32, [row()])
        except Busy:
            put_off.append(True)
        finally:
            connections.close_all()

    in_thread(run).join()
    return bool(put_off)


def in_thread(run):
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_it_is_put_off_while_a_transaction_of_the_site_is_open(journal):
    with transaction.atomic():
        titles = list(Book.objects.values_list("title"))
        assert write()
        Book.objects.create(title=f"after {len(titles)}")
    assert not write()
    assert RoutingStatistics.objects.count() == 1


def test_a_transaction_that_begins_meanwhile_waits_for_it(journal):
    began = threading.Event()

    def site():
        with transaction.atomic():
            began.set()
            Book.objects.create(title=f"after {Book.objects.count()}")
        connections.close_all()

    with silenced(), temporary_connection("default"), gate.writing(connections["default"]):
        thread = in_thread(site)
        assert not began.wait(0.1)
    thread.join()
    assert Book.objects.count() == 1


def test_a_transaction_that_is_beginning_puts_it_off(databases):
    with gate.beginning(connections["default"]):
        assert write()
    assert not write()


def test_transactions_of_the_site_do_not_wait_for_each_other(databases):
    """One that waits for a lock on the file would hold up the one that has it, which begins one elsewhere."""
    with gate.beginning(connections["default"]):
        thread = in_thread(lambda: gate.beginning(connections["other"]).__enter__())
        thread.join(10.0)
        assert not thread.is_alive()


def test_one_writer_does_not_let_another_in(databases):
    with silenced(), temporary_connection("default"), gate.writing(connections["default"]):
        assert write()
        assert write()


def test_savepoints_wait_for_nobody(databases):
    with transaction.atomic():
        Book.objects.count()
        with pytest.raises(Busy), gate.writing(connections["default"]):
            pass
        with transaction.atomic():
            pass


def test_a_reader_of_another_process_is_not_failed_by_it(databases):
    with closing(sqlite3.connect(FILE, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM app_book").fetchone()
        assert write()
        other.execute("INSERT INTO app_book (title) VALUES ('new')")
        other.execute("COMMIT")
    assert not write()


def test_it_waits_for_no_lock(databases):
    with closing(sqlite3.connect(FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert write()
