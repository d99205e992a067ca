"""What all pages have in common: nothing inline, headers, labels, ids, a part that refreshes itself."""

import pytest

from django_rwrouter.operations import overrides
from tests.sqlite.panel.conftest import NOW, PAGES, URL, read, record

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

ALL = [*PAGES, "explain/?model=app.Book&method=GET", "actions/drain/replica1/"]


@pytest.fixture
def busy(databases):
    record(
        read("replica1", count=3),
        read("default", "pinned"),
        lag=[["replica1", 1.0, 1.0]],
        log=[[NOW, "failover", "replica1", ""]],
    )
    overrides.drain("replica2", reason="new disks")


@pytest.mark.parametrize("path", ALL)
def test_nothing_is_inline(show, busy, path):
    for tag, attributes in show(path, whole=True).tags:
        assert not (tag == "script" and "src" not in attributes)
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("src", "href"):
            assert "//" not in (attributes.get(name) or "")


@pytest.mark.parametrize("path", ALL)
def test_every_table_has_a_caption_and_headers_with_a_scope(show, busy, path):
    tags = show(path).tags
    tables = [tag for tag, _attributes in tags if tag == "table"]
    captions = [tag for tag, _attributes in tags if tag == "caption"]
    assert len(tables) == len(captions)
    assert {attributes.get("scope") for tag, attributes in tags if tag == "th"} <= {"col", "row"}


@pytest.mark.parametrize("path", ALL)
def test_ids_are_unique_and_what_refers_to_them_finds_them(show, busy, path):
    tags = show(path, whole=True).tags
    ids = [attributes["id"] for _tag, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name in ("aria-labelledby", "aria-describedby", "for"):
        assert {attributes[name] for _tag, attributes in tags if attributes.get(name)} <= set(ids)


@pytest.mark.parametrize("path", PAGES)
def test_the_navigation_tells_where_one_is(show, path):
    links = [attributes for tag, attributes in show(path).tags if tag == "a" and "aria-current" in attributes]
    assert [link["href"] for link in links if link["aria-current"] == "page"] == [URL + path]


@pytest.mark.parametrize("path", ["", "over-time/", "replication/", "events/"])
def test_a_page_that_refreshes_itself_gives_out_its_part_alone(admin, show, busy, path):
    whole = show(path)
    assert '<script src="/static/django_rwrouter/refresh.js" defer>' in show(path, whole=True).html
    part = admin.get(f"{URL}{path}?fragment=1").content.decode()
    assert "<html" not in part
    assert "rwrouter-tabs" not in part
    live = whole.html[whole.html.index('<div id="rwrouter-live">') :]
    assert part.strip() in live


@pytest.mark.parametrize("path", ["explain/", "actions/"])
def test_forms_and_actions_do_not_refresh_themselves(show, path):
    assert "refresh.js" not in show(path, whole=True).html


def test_no_page_names_user_or_password_of_a_database(show, busy, monkeypatch):
    from django.db import connections

    secrets = {"USER": "keeper", "PASSWORD": "hunter2"}
    for alias in ("default", "replica1", "replica2"):
        for key, value in secrets.items():
            monkeypatch.setitem(connections[alias].settings_dict, key, value)
            monkeypatch.setitem(connections.settings[alias], key, value)
    for path in ALL:
        html = show(path, whole=True).html
        assert not [value for value in secrets.values() if value in html]
