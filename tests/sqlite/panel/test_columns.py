"""What is known of a server: one list for the command's JSON, its table, and the panel's."""

import json
from pathlib import Path

import pytest

from django_rwrouter.admin.pages import now
from django_rwrouter.management.subcommands import status
from django_rwrouter.operations.server_columns import COLUMNS, Column
from tests.sqlite.panel.conftest import read, record
from tests.sqlite.test_operator_commands import rwrouter

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


def test_a_new_column_is_one_entry(show, monkeypatch):
    column = Column("used.would_be_reads", "would-be", "Would-be reads", "number", is_counted=True)
    for module in (status, now):
        assert module.COLUMNS is COLUMNS
        monkeypatch.setattr(module, "COLUMNS", (*COLUMNS, column))
    record(read("default", would_be="replica1"))
    [cluster] = json.loads(rwrouter("status", "--json"))["clusters"]
    assert [server["would_be_reads"] for server in cluster["servers"]] == [0, 1, 0]
    _cluster, titles, *servers = rwrouter("status").splitlines()[:5]
    assert [line.split()[-1] for line in (titles, *servers)] == ["would-be", "0", "1", "0"]
    header, *rows = show().tables["Databases of the cluster “default”"]
    place = header.index("Would-be reads")
    assert [row[place] for row in rows] == ["0", "1", "0"]


def test_each_key_is_documented():
    text = OPERATIONS.read_text(encoding="utf-8")
    assert [column.name for column in COLUMNS if f"`{column.name}`" not in text] == []


def test_each_key_is_there_once():
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
