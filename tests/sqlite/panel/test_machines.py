"""Which machine an alias stands for, and who may know."""

import pytest
from django.db import connections

from tests.sqlite.panel.conftest import URL, permit

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
PAGES = ("", "actions/")
SECRETS = {"USER": "shop_user", "PASSWORD": "s3cret", "OPTIONS": {"timeout": 7.25}}


@pytest.fixture(autouse=True)
def machines(databases, settings, monkeypatch):
    settings.RWROUTER = {"REPLICAS": {"replica1": {"LABEL": "db2, Seoul"}, "replica2": {}}}
    for alias, values in {
        "replica1": {"HOST": "10.0.0.7", "PORT": "3307"},
        "replica2": {"HOST": "2001:db8::7", "PORT": 5432},
    }.items():
        for key, value in (SECRETS | values).items():
            monkeypatch.setitem(connections.settings[alias], key, value)


@pytest.mark.parametrize("page", PAGES)
def test_who_may_act_sees_host_and_port(show, page):
    shown = show(page)
    assert "replica1 db2, Seoul \N{MIDDLE DOT} 10.0.0.7:3307" in shown.text
    assert "replica2 [2001:db8::7]:5432" in shown.text
    assert not [secret for secret in ("shop_user", "s3cret", "7.25") if secret in shown.html]


def test_who_may_only_look_sees_the_label(client, staff):
    permit(staff, "view_routing")
    html = client.get(URL).content.decode()
    assert "db2, Seoul" in html
    assert "10.0.0.7" not in html
    assert "2001:db8" not in html
