"""A database is one class in one file, and its doctor: this one is made up, and takes part in everything."""

import ast
import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from django.db import InternalError, OperationalError, connections

import django_rwrouter
from django_rwrouter import databases
from django_rwrouter.checks import replicas as checks
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.base import Busy, Driver, ErrorCodes, Loss, Product, Progress, Reading
from django_rwrouter.databases.mariadb import MariaDB, MariaDBPosition
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.databases.sql import Kind, classify
from django_rwrouter.events import causes, emit
from django_rwrouter.exceptions import ReplicaWriteError
from django_rwrouter.execution import hook, new_connections
from django_rwrouter.monitor.prober import Prober
from django_rwrouter.monitor.probes import PrimarySample
from django_rwrouter.operations import doctor, overrides, replication
from django_rwrouter.operations.doctor import examination
from django_rwrouter.operations.doctor.examined_server import ExaminedServer
from django_rwrouter.stats import backends

PACKAGE = Path(django_rwrouter.__file__).parent


@dataclass(frozen=True)
class Number:
    """A position that is a number."""

    number: int

    def covers(self, other):
        return isinstance(other, Number) and self.number >= other.number

    def merge(self, other):
        return max(self, other, key=lambda position: position.number)

    def gap(self, behind):
        return self.number - behind.number

    def __str__(self):
        return f"bead {self.number}"

    def encode(self):
        return str(self.number)

    @classmethod
    def decode(cls, text):
        return cls(int(text))


class AbacusDriver(Driver):
    replicas_are_read_only = True
    unit = "beads"

    def read_primary(self, cursor):
        return Number(7)

    def read_replica(self, cursor):
        return Reading("abacus1", Number(6), writable=False)

    def wait(self, cursor, position, seconds):
        return False

    def progress(self, cursor):
        return Progress(replicates=True, replayed=Number(6))


class AbacusErrors(ErrorCodes):
    meanings = {"ABA1": "is being dusted"}

    def code(self, error):
        code = str(error).partition(":")[0]
        return code if code.startswith("ABA") else None

    def loss(self, error, *, closed):
        return Loss.CONNECTION if self.code(error) == "ABA2" else None

    def is_refused_write(self, error):
        return self.code(error) == "ABA3"


class Abacus(Product):
    name = "abacus"
    system = "abacus"
    code = "a"
    position = Number
    driver = AbacusDriver()
    errors = AbacusErrors()
    read_only_query = "READ ONLY?"
    impatient_select = "SELECT HASTILY %s"
    timeouts = ("connect_timeout",)
    driver_timeouts = {"abacuslib": ("patience",)}
    reads_can_hang = True
    hello = b"?"

    def read_only_statement(self, primary):
        return "BE READ ONLY UNLESS %s", (primary(),)

    def patience(self, options):
        return options["patience"]

    def is_serializable(self, options):
        return "one_by_one" in options

    @contextmanager
    def beginning(self, connection):
        connection.executed.append("begins")
        yield

    @contextmanager
    def writing(self, connection):
        raise Busy
        yield


class DatabaseWrapper:
    """What Django's backend would be."""

    vendor = "abacus"
    Database = SimpleNamespace(__name__="abacuslib.driver")
    wrap_database_errors = nullcontext()
    in_atomic_block = False
    autocommit = True

    def __init__(self, settings_dict, alias="default"):
        self.settings_dict, self.alias = settings_dict, alias
        self.execute_wrappers, self.executed = [], []
        self.ops = SimpleNamespace(quote_name=str)
        self.connection = self
        self.description = ("kind",)

    def cursor(self):
        return self

    def execute(self, sql, parameters=()):
        self.executed.append(sql % parameters if parameters else sql)

    def fetchone(self):
        return (1,)

    def fetchall(self):
        return []

    def nothing(self):
        pass

    close = ensure_connection = validate_thread_sharing = nothing


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(databases, "_products", dict(databases._products))
    monkeypatch.setattr(doctor, "DOCTORS", dict(doctor.DOCTORS))
    monkeypatch.setattr(examination, "DOCTORS", doctor.DOCTORS)


@pytest.fixture
def replica(monkeypatch):
    """A connection to a replica on the made-up database, which is registered."""
    base = ModuleType("abacus_backend.base")
    base.DatabaseWrapper = DatabaseWrapper
    monkeypatch.setitem(sys.modules, "abacus_backend.base", base)
    monkeypatch.setitem(connections.settings["replica1"], "ENGINE", "abacus_backend")
    databases.register(Abacus())
    return connections.create_connection("replica1")


def test_a_product_that_nobody_has_registered_has_no_positions():
    connection = SimpleNamespace(vendor="abacus")
    assert not databases.has_positions("abacus")
    assert databases.get_driver(connection) is None
    with pytest.raises(TypeError, match=r"Number has no letter: register"):
        databases.encode(Number(7))


def test_its_positions_travel_in_tokens(replica):
    assert databases.has_positions("abacus")
    assert databases.get_driver(replica) is Abacus.driver
    assert databases.encode(Number(7)) == "a7"
    assert databases.decode("a7") == Number(7)


def test_its_sessions_become_read_only_and_are_asked_whether_they_are(replica, monkeypatch):
    monkeypatch.setattr(new_connections, "primary_server", lambda cluster: "abacus0")
    new_connections.prepare(connection=replica)
    assert replica.executed == ["BE READ ONLY UNLESS abacus0"]
    assert hook._ran_read_only(replica)
    assert replica.executed[1:] == ["READ ONLY?"]


def run(connection, sql, error=None):
    def execute(sql, params, many, context):
        connection.executed.append(sql)
        if error is not None:
            raise error

    hook.observe(execute, sql, (), False, {"connection": connection, "cursor": SimpleNamespace()})


def test_its_errors_are_understood(replica):
    with pytest.raises(ReplicaWriteError):
        run(replica, "INSERT INTO app_book (a) VALUES (1)", InternalError("ABA3: read-only"))
    errors = databases.get_product(replica).errors
    assert errors.loss(OperationalError("ABA2: lost"), closed=False) is Loss.CONNECTION
    assert errors.may_have_written(OperationalError("ABA2: lost"))  # Unknown: the safe side.
    assert not errors.is_refusal(OperationalError("ABA3: read-only"))


def test_it_has_a_say_when_transactions_begin_and_statistics_are_written(replica, monkeypatch):
    run(replica, "BEGIN")
    assert replica.executed == ["begins", "BEGIN"]
    monkeypatch.setattr(backends, "connections", {"replica1": replica})
    with pytest.raises(Busy), backends._writing(SimpleNamespace(db="replica1")):
        pass


def test_its_driver_is_bounded_and_its_servers_probed_as_it_says(replica, monkeypatch):
    assert own_connection("replica1", 1.5).settings_dict["OPTIONS"]["patience"] == 2
    monkeypatch.setitem(connections.settings["default"], "ENGINE", "abacus_backend")
    prober = Prober("replica1", "default", 1.0)
    assert not prober.reads_in_bounded_time
    asked = []
    prober._peer = SimpleNamespace(answers=lambda hello, timeout: asked.append(hello))
    prober.abort()
    with prober._knocking:
        assert asked == [b"?"]


def test_it_is_checked_as_it_says(replica):
    options = {"OPTIONS": {"one_by_one": True}, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": False}
    ids = [message.id.partition(".")[2] for message in checks._patience("replica1", options, "inline")]
    assert ids == ["W008", "W010", "W024", "W017"]


def test_it_is_asked_impatiently_for_what_operators_have_overridden(replica):
    assert overrides.load(replica) == []
    [statement] = replica.executed
    assert statement.startswith("SELECT HASTILY kind, ")


def test_its_progress_is_shown():
    driver = Abacus().driver
    reply = replication._Reply(replication._progress_of(driver, None), driver.unit)
    written = replication._Reply(replication._written(driver, None), driver.unit)
    progress = replication._progress(get_topology().clusters["default"], written, {"replica1": reply})
    [steps] = progress.replicas
    assert (progress.written, progress.unit, steps.replayed, steps.to_replay) == (
        "bead 7",
        "beads",
        "bead 6",
        1,
    )


class AbacusDoctor:
    def ask(self, cursor, server):
        server.version, server.identity = "Abacus 3", "abacus1"
        server.ask_clock(cursor, "TIME?")

    def judge(self, server):
        server.warning("beads", "some are loose", "Fasten them.")


def examined(connection):
    """What the doctor says of a replica whose primary stands at 7."""
    cluster = get_topology().clusters["default"]
    server = ExaminedServer(cluster=cluster, alias="replica1")
    sample = PrimarySample()
    sample.position = Number(7)
    sample.done.set()
    examination._ask(server, connection, sample, 1.0)
    examination._judge(server)
    return {finding.topic: finding.message for finding in server.findings}


def test_it_is_examined_once_its_doctor_is_registered(replica):
    assert examined(replica).keys() == {"connection", "position", "timeouts"}
    doctor.register("abacus", AbacusDoctor())
    findings = examined(replica)
    assert findings.keys() == {"connection", "beads", "clock", "timeouts"}
    assert findings["connection"] == "Abacus 3 answers; by the settings it is a replica"


def test_what_its_errors_mean_is_said_in_sentences(replica):
    error = OperationalError("ABA1: dust")
    assert examination._why(error, 1.0) == "it is being dusted (ABA1)"
    assert emit.why(error) == "OperationalError ABA1"
    assert causes.sentence("OperationalError ABA1") == "is being dusted (ABA1)"


def test_a_product_may_be_replaced():
    class Other(Abacus):
        name, code = "postgresql", "p"

    databases.register(Other())
    assert databases.get_driver(SimpleNamespace(vendor="postgresql")) is Abacus.driver
    assert databases.decode("p7") == Number(7)


def test_a_product_may_be_registered_late():
    """What was derived from the products before is derived anew."""
    executable = "SELECT 1 /*! INTO OUTFILE 'x' */"
    before = classify(executable, "abacus"), get_topology().clusters["default"]

    class Late(Abacus):
        dialect = MariaDB.dialect

    databases.register(Late())
    assert before[0].kind is Kind.READ
    assert classify(executable, "abacus").kind is Kind.WRITE
    assert get_topology().clusters["default"] is not before[1]  # Whose standings threads keep.


def test_two_products_may_share_a_kind_of_position():
    class Fork(Abacus):
        code, position = "m", MariaDBPosition

    databases.register(Fork())
    assert databases.decode("m0-1-5") == MariaDBPosition({0: (1, 5)})


@pytest.mark.parametrize(
    ("letter", "message"),
    [
        ("p", r"code 'p' marks positions of 'postgresql' already: give 'abacus' another"),
        ("", r"code is '', and must be one letter"),
        ("or", r"code is 'or', and must be one letter"),
        ("7", r"code is '7', and must be one letter"),
        ("é", r"code is 'é', and must be one letter"),
    ],
)
def test_a_letter_marks_one_kind_of_position(letter, message):
    class Marked(Abacus):
        code = letter

    with pytest.raises(ValueError, match=message):
        databases.register(Marked())
    assert not databases.has_positions("abacus")


def test_nobody_else_names_a_product():
    """Outside databases/ nothing depends on which one it is: no comparison, and no table by their names."""
    names = set(databases._products)
    assert {"mysql", "postgresql", "sqlite"} < names
    named = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE / "databases"
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Constant) and node.value in names)
        or (isinstance(node, ast.Compare) and any(map(is_vendor, (node.left, *node.comparators))))
    ]
    assert not named, (
        "Let an attribute or a method of databases.base.Product say what differs:\n" + "\n".join(named)
    )


def is_vendor(node):
    return getattr(node, "attr", getattr(node, "id", None)) == "vendor"


def test_databases_are_known_without_settings():
    """To a program that starts a site, such as the demo, before there are any."""
    program = "import django_rwrouter.databases, django_rwrouter.databases.sqlite"
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
