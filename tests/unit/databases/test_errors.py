"""What drivers' errors mean; each database has words of its own."""

from types import SimpleNamespace

import pytest
from django.db import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

from django_rwrouter.databases import by_name
from django_rwrouter.databases.base import Loss


class DriverError(Exception):
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate


class OlderDriverError(Exception):
    """Psycopg 2 calls it so."""

    def __init__(self, sqlstate):
        self.pgcode = sqlstate


def postgresql(kind, sqlstate, driver=DriverError):
    error = kind("made up")
    error.__cause__ = driver(sqlstate)
    return error


def mysql(code, kind=OperationalError):
    return kind(code, "made up")


CONNECTION = {
    "no connection by socket": mysql(2002),
    "no connection by TCP": mysql(2003),
    "gone away": mysql(2006),
    "lost": mysql(2013),
    "TLS broken": mysql(2026),
    "malformed packet": mysql(2027),
    "lost, extended": mysql(2055),
    "closed on our side": mysql(0, InterfaceError),
    "gone away, as an InterfaceError": mysql(2006, InterfaceError),
    "aborted": mysql(1152),
    "network read error": mysql(1158),
    "killed, MariaDB": mysql(1927),
    "killed, MySQL": mysql(3169, InternalError),
    "idle for too long, MySQL": mysql(4031),
    "closed by mysql.connector": mysql(-1),
    "no answer in time, mysql.connector": mysql(3024, Error),
}
SERVER = {
    "shutting down": mysql(1053),
    "normal shutdown": mysql(1077),
    "too many connections": mysql(1040),
    "too many connections of the user": mysql(1203),
    "not in the Galera cluster": mysql(1047),
    "offline mode": mysql(3032, InternalError),
    "ProxySQL without servers": mysql(9001),
}
NOTHING = {
    "KILL QUERY": mysql(1317),
    "max_execution_time": mysql(3024),
    "max_execution_time, mysql.connector": mysql(3024, DatabaseError),
    "a mistake that mysql.connector finds itself": mysql(-1, ProgrammingError),
    "max_statement_time": mysql(1969),
    "deadlock": mysql(1213),
    "lock wait": mysql(1205),
    "syntax error": mysql(1064, ProgrammingError),
    "no such table": mysql(1146, ProgrammingError),
    "commands out of sync": mysql(2014, ProgrammingError),
    "out of memory here": mysql(2008),
    "read-only": mysql(1290),
    "out of range": mysql(1264, DataError),
    "duplicate": mysql(1062, IntegrityError),
    "not supported": mysql(1235, NotSupportedError),
    "no code": OperationalError("lost"),
    "empty": OperationalError(),
    "a signal's exception": TimeoutError(),
    "interrupted": KeyboardInterrupt(),
}


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        *[pytest.param(error, Loss.CONNECTION, id=name) for name, error in CONNECTION.items()],
        *[pytest.param(error, Loss.SERVER, id=name) for name, error in SERVER.items()],
        *[pytest.param(error, None, id=name) for name, error in NOTHING.items()],
    ],
)
@pytest.mark.parametrize("closed", [False, True])
def test_mysql(error, lost, closed):
    """Its driver does not know when a connection is closed by the other side."""
    assert by_name("mysql").errors.loss(error, closed=closed) is lost


@pytest.mark.parametrize(
    ("error", "closed", "lost"),
    [
        pytest.param(error, closed, lost, id=f"{name}, {'closed' if closed else 'open'}")
        for name, error, lost_open, lost_closed in [
            ("the library", postgresql(OperationalError, None), None, Loss.CONNECTION),
            ("psycopg 2", postgresql(InterfaceError, None, OlderDriverError), None, Loss.CONNECTION),
            ("too many parameters", postgresql(DataError, None), None, None),
            ("connection failure", postgresql(OperationalError, "08006"), *[Loss.CONNECTION] * 2),
            ("ended by an administrator", postgresql(OperationalError, "57P01"), *[Loss.CONNECTION] * 2),
            (
                "the same, psycopg 2",
                postgresql(OperationalError, "57P01", OlderDriverError),
                *[Loss.CONNECTION] * 2,
            ),
            ("another process crashed", postgresql(OperationalError, "57P02"), *[Loss.CONNECTION] * 2),
            ("idle for too long", postgresql(OperationalError, "57P05"), *[Loss.CONNECTION] * 2),
            ("starting up", postgresql(OperationalError, "57P03"), *[Loss.SERVER] * 2),
            ("PgBouncer", postgresql(OperationalError, "08P01"), *[Loss.SERVER] * 2),
            ("too many connections", postgresql(OperationalError, "53300"), *[Loss.SERVER] * 2),
            (
                "a recovery conflict",
                postgresql(OperationalError, "40001"),
                Loss.STATEMENT,
                Loss.CONNECTION,
            ),
            ("cancelled", postgresql(OperationalError, "57014"), None, None),
            ("deadlock", postgresql(OperationalError, "40P01"), None, None),
            ("no such column", postgresql(ProgrammingError, "42703"), None, None),
            ("read-only", postgresql(InternalError, "25006"), None, None),
            ("disk full", postgresql(OperationalError, "53100"), None, None),
        ]
        for closed, lost in [(False, lost_open), (True, lost_closed)]
    ],
)
def test_postgresql(error, closed, lost):
    assert by_name("postgresql").errors.loss(error, closed=closed) is lost


@pytest.mark.parametrize("vendor", ["sqlite", "oracle"])
def test_of_other_databases_nothing_is_known(vendor):
    assert by_name(vendor).errors.loss(mysql(2013), closed=True) is None


@pytest.mark.parametrize(
    ("error", "vendor", "expected"),
    [
        (OperationalError(1290, "The MariaDB server is running with the --read-only option"), "mysql", True),
        (OperationalError(1290, "... running with the --super-read-only option"), "mysql", True),
        (OperationalError(1290, "... running with the --read_only=NO_LOCK option"), "mysql", True),
        (OperationalError(1290, "... running with the --secure-file-priv option"), "mysql", False),
        (OperationalError(1836, "Running in read-only mode"), "mysql", True),
        (OperationalError(1792, "Cannot execute statement in a READ ONLY transaction"), "mysql", False),
        (postgresql(InternalError, "25006"), "postgresql", True),
        (postgresql(InternalError, "25P02"), "postgresql", False),
        (OperationalError("attempt to write a readonly database"), "sqlite", False),
    ],
    ids=str,
)
def test_a_server_that_is_read_only(error, vendor, expected):
    server = SimpleNamespace(info=SimpleNamespace(parameter_status=lambda name: "on"))
    connection = SimpleNamespace(in_atomic_block=True, connection=server)
    assert by_name(vendor).errors.is_read_only_server(error, connection) is expected


@pytest.mark.parametrize(
    ("error", "vendor", "expected"),
    [
        (postgresql(NotSupportedError, "0A000"), "postgresql", True),
        (postgresql(ProgrammingError, "42501"), "postgresql", True),
        (postgresql(ProgrammingError, "42883"), "postgresql", True),
        (postgresql(OperationalError, "55000"), "postgresql", False),
        (postgresql(OperationalError, "57014"), "postgresql", False),
        (OperationalError(1227, "Access denied"), "mysql", True),
        (OperationalError(1142, "SELECT command denied"), "mysql", True),
        (OperationalError(1193, "Unknown system variable"), "mysql", True),
        (OperationalError(2013, "Lost connection"), "mysql", False),
        (OperationalError("no such function"), "sqlite", False),
        (ValueError(1227), "mysql", False),
    ],
    ids=str,
)
def test_a_refusal_is_an_answer(error, vendor, expected):
    assert by_name(vendor).errors.is_refusal(error) is expected


@pytest.mark.parametrize(
    ("error", "vendor", "expected"),
    [
        *[(mysql(code), "mysql", True) for code in (1049, 1054, 1142, 1143, 1146, 1176, 1191, 1305, 1370)],
        *[(mysql(code), "mysql", False) for code in (1064, 1205, 1213, 1317, 2013, 1290)],
        *[
            (postgresql(ProgrammingError, state), "postgresql", True)
            for state in ("0A000", "3F000", "42501", "42703", "42704", "42883", "42P01", "55000")
        ],
        *[
            (postgresql(ProgrammingError, state), "postgresql", False)
            for state in (None, "22P02", "25006", "40001", "42601", "57014")
        ],
        (OperationalError("no such table: app_book"), "sqlite", True),
        (OperationalError("no such column: pages"), "sqlite", True),
        (OperationalError("database is locked"), "sqlite", False),
        (OperationalError('near "SELEKT": syntax error'), "sqlite", False),
        (mysql(1146), "oracle", False),
        (TimeoutError("no such luck"), "sqlite", False),
    ],
)
def test_what_only_the_primary_may_be_able_to_run(error, vendor, expected):
    assert by_name(vendor).errors.may_work_on_primary(error) is expected
