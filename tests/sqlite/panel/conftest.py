"""Somebody in the admin, on the pages of the panel, at a time that stands still."""

import time
from datetime import datetime, timezone
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import Permission, User

from django_rwrouter.stats import recorder
from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.table import RoutingStatistics
from tests.sqlite.conftest import replicate

NOW = 1_800_000_030
"""Half past a minute: 8:00:30 UTC on a Friday."""
URL = "/admin/django_rwrouter/routingstatistics/"
PAGES = ("", "over-time/", "replication/", "events/", "explain/", "actions/")
NONE = "\N{EN DASH}"
REPLICAS = {"REPLICAS": ["replica1", "replica2"]}


def read(alias, reason="window", count=1, milliseconds=1.0, would_be="", cluster="default"):
    return [cluster, alias, "read", reason, would_be, count, int(count * milliseconds * 1000)]


def record(*statements, events=(), minutes_ago=0, process="a" * 32, **more):
    start = NOW - 30 - 60 * minutes_ago
    data = {"statements": list(statements), "events": list(events), **more}
    RoutingStatistics.objects.on_primary().put([Row(process=process, resolution=60, start=start, data=data)])


class Shown(HTMLParser):
    """What a person sees of a page: its tables, cell by cell, and its text."""

    def __init__(self, html):
        super().__init__()
        self.html = html
        self.tables, self.tags, self._cell, self._words = {}, [], None, []
        self.feed(html)
        self.text = " ".join(" ".join(self._words).split())

    def table(self, caption):
        """Return the rows below the header."""
        return self.tables[caption][1:]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th", "caption"}:
            self._cell = []

    def handle_endtag(self, tag):
        if tag == "caption":
            self.tables[" ".join(" ".join(self._cell).split())] = self._rows
        elif tag in {"td", "th"} and self._cell is not None:
            self._rows[-1].append(" ".join(" ".join(self._cell).split()))
        if tag in {"td", "th", "caption"}:
            self._cell = None

    def handle_data(self, data):
        self._words.append(data)
        if self._cell is not None:
            self._cell.append(data)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: NOW + 0.0)
    monkeypatch.setattr(recorder._counters, "_clock", lambda: NOW)


@pytest.fixture
def admin(databases, client):
    user = User.objects.db_manager("default").create_superuser("admin", password="x")
    replicate()
    client.force_login(user)
    return client


@pytest.fixture
def show(admin):
    """Open a page and read it: our part of it, or the whole."""

    def open_page(path="", *, whole=False):
        response = admin.get(URL + path)
        assert response.status_code == 200, response.content.decode()
        html = response.content.decode()
        return Shown(html if whole else html[html.index('<div id="content-main">') :])

    return open_page


@pytest.fixture
def staff(databases, client):
    user = User.objects.db_manager("default").create_user("staff", password="x", is_staff=True)
    replicate()
    client.force_login(user)
    return user


def permit(user, *codenames):
    user.user_permissions.add(*Permission.objects.using("default").filter(codename__in=codenames))
    replicate()


def at(seconds):
    return datetime.fromtimestamp(seconds, tz=timezone.utc)
