"""Who may see the panel, and who may act."""

import re

import pytest

from django_rwrouter.stats.table import RoutingStatistics
from tests.sqlite.panel.conftest import PAGES, URL, permit

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_the_index_leads_to_the_panel(admin):
    html = admin.get("/admin/").content.decode()
    assert f'href="{URL}"' in html
    assert f"{URL}add/" not in html


def test_the_index_calls_it_as_the_documentation_does(admin):
    text = re.sub(r"<[^>]+>", "", admin.get("/admin/").content.decode())
    assert text.count("Read/write routing") == 2  # The app, and the place that it leads to.


@pytest.mark.parametrize("path", PAGES)
def test_staff_without_the_permission_open_no_page(client, staff, path):
    assert URL not in client.get("/admin/").content.decode()
    assert client.get(URL + path).status_code == 403
    assert client.get(f"{URL}{path}?fragment=1").status_code == 403


@pytest.mark.parametrize("path", PAGES)
def test_staff_who_may_view_see_all_but_the_actions(client, staff, path):
    permit(staff, "view_routing")
    assert URL in client.get("/admin/").content.decode()
    response = client.get(URL + path)
    assert response.status_code == (403 if path == "actions/" else 200)
    assert "actions/" not in response.content.decode()


@pytest.mark.parametrize("action", ["drain", "undrain"])
def test_staff_who_may_view_cannot_act(client, staff, action):
    permit(staff, "view_routing")
    assert client.post(f"{URL}actions/{action}/replica1/").status_code == 403


def test_to_act_is_of_no_use_without_to_view(client, staff):
    permit(staff, "change_routing")
    assert client.get(URL + "actions/").status_code == 403
    assert client.post(f"{URL}actions/drain/replica1/").status_code == 403


def test_staff_who_may_both_are_led_to_the_actions(client, staff):
    permit(staff, "view_routing", "change_routing")
    assert f'href="{URL}actions/"' in client.get(URL).content.decode()
    assert f'href="{URL}actions/drain/replica1/"' in client.get(URL).content.decode()
    assert client.get(URL + "actions/").status_code == 200


def test_strangers_are_asked_to_log_in(databases, client):
    response = client.get(URL)
    assert response.status_code == 302
    assert response.url == f"/admin/login/?next={URL}"


def test_there_are_two_permissions():
    assert RoutingStatistics._meta.default_permissions == ()
    assert [name for name, _label in RoutingStatistics._meta.permissions] == [
        "view_routing",
        "change_routing",
    ]


@pytest.mark.parametrize("path", ["add/", "1/change/", "1/delete/", "1/history/"])
def test_nothing_can_be_added_changed_or_deleted(admin, path):
    assert admin.get(URL + path).status_code == 404
