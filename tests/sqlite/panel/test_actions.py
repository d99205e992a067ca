"""Draining, the kill switch, and their undoing: asked, confirmed, carried out, written down."""

from urllib.parse import unquote

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.urls import resolve, reverse
from django.utils import translation

from django_rwrouter.operations import overrides
from django_rwrouter.operations.override_table import OverrideKind, RoutingOverride
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import Condition
from tests.sqlite.panel.conftest import NOW, URL, Shown

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def in_force():
    return [(each.kind, each.target, each.reason, each.by, each.at) for each in overrides.in_force()]


def act(client, action, target, reason=""):
    return client.post(f"{URL}actions/{action}/{target}/", {"reason": reason}, follow=True)


def logged():
    return [
        (entry.user.username, entry.object_repr, entry.change_message)
        for entry in LogEntry.objects.using("default").order_by("pk")
    ]


def test_drain_and_put_back(admin):
    response = act(admin, "drain", "replica1", "new disks")
    assert response.redirect_chain == [(URL, 302)]
    assert "The replica “replica1” is drained." in response.content.decode()
    assert in_force() == [(OverrideKind.DRAIN, "replica1", "new disks", "admin", NOW)]
    assert health.standing("replica1").condition is Condition.DRAINED

    response = act(admin, "undrain", "replica1", "they are in")
    assert "The replica “replica1” takes reads again." in response.content.decode()
    assert in_force() == []
    assert logged() == [
        ("admin", "replica1", "Drain: new disks"),
        ("admin", "replica1", "Put back: they are in"),
    ]


def test_where_no_monitor_runs_it_says_that_nobody_looks(admin, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "MONITOR": {"MODE": "off"}}
    assert "so it has no effect there" in act(admin, "drain", "replica1").content.decode()


@pytest.mark.parametrize("target", ["replica1", "eu/replica", "one\nline", "a/b/\n", "?#%"])
def test_a_target_may_have_any_name(target):
    address = reverse("admin:django_rwrouter_routingstatistics_drain", args=[target])
    assert resolve(unquote(address)).kwargs == {"target": target}


def test_the_kill_switch_and_back(admin):
    act(admin, "switch-off", "default", "it smells burnt")
    assert in_force() == [(OverrideKind.PRIMARY_ONLY, "default", "it smells burnt", "admin", NOW)]
    assert health.off == {"default"}
    act(admin, "switch-on", "default")
    assert in_force() == []
    assert logged() == [
        ("admin", "default", "Send everything to the primary: it smells burnt"),
        ("admin", "default", "Let replicas answer"),
    ]


@pytest.mark.parametrize(
    ("action", "target", "question"),
    [
        ("drain", "replica1", "Drain the replica “replica1”?"),
        ("undrain", "replica1", "Put the replica “replica1” back?"),
        ("switch-off", "default", "Send everything of the cluster “default” to its primary?"),
        ("switch-on", "default", "Let replicas of the cluster “default” answer again?"),
    ],
)
def test_it_is_asked_first_and_to_look_at_the_question_does_nothing(show, action, target, question):
    shown = show(f"actions/{action}/{target}/")
    assert question in shown.text
    assert [attributes["name"] for tag, attributes in shown.tags if tag == "input"] == [
        "csrfmiddlewaretoken",
        "reason",
    ]
    assert in_force() == []
    assert logged() == []


def test_without_the_token_of_the_form_nothing_happens(admin):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = admin.cookies
    assert strict.post(f"{URL}actions/drain/replica1/").status_code == 403
    assert in_force() == []


@pytest.mark.parametrize(
    ("action", "target"),
    [
        ("drain", "default"),
        ("drain", "nobody"),
        ("undrain", "nobody"),
        ("switch-off", "nowhere"),
        ("switch-on", "replica1"),
        ("explode", "replica1"),
    ],
)
def test_what_is_not_there_cannot_be_acted_upon(admin, action, target):
    assert admin.post(f"{URL}actions/{action}/{target}/").status_code == 404


def test_to_end_what_is_not_in_force_says_so_and_is_not_logged(admin):
    assert "The replica “replica1” was not drained." in act(admin, "undrain", "replica1").content.decode()
    assert "was not thrown" in act(admin, "switch-on", "default").content.decode()
    assert logged() == []


def test_what_left_the_settings_can_still_be_ended(admin, show, settings):
    overrides.drain("replica2", reason="old")
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    assert f'href="{URL}actions/undrain/replica2/"' in show("actions/").html
    act(admin, "undrain", "replica2")
    assert in_force() == []


def test_a_reason_that_is_too_long_is_asked_for_again(admin):
    response = admin.post(f"{URL}actions/drain/replica1/", {"reason": "x" * 501})
    assert response.status_code == 200
    assert "at most 500 characters" in response.content.decode()
    assert in_force() == []


def test_before_migrate_it_says_what_to_do(admin):
    with connection.schema_editor() as editor:
        editor.delete_model(RoutingOverride)
    try:
        assert "manage.py migrate django_rwrouter" in act(admin, "drain", "replica1").content.decode()
        assert logged() == []
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(RoutingOverride)


def test_the_page_shows_what_is_in_force(show):
    overrides.drain("replica2", reason="new disks", by="Inés")
    shown = show("actions/")
    assert [row[:2] for row in shown.table("Replicas")] == [["replica1", "yes"], ["replica2", "drained"]]
    assert shown.table("Replicas")[1][2].startswith("new disks Inés, since")
    assert shown.table("Kill switch")[0][:2] == ["default", "routed"]


def test_the_log_is_in_the_language_of_the_project(admin, settings):
    with translation.override("de"):
        act(admin, "drain", "replica1", "so")
    assert logged() == [("admin", "replica1", "Drain: so")]


def test_a_reason_is_text_and_not_markup(admin, show):
    act(admin, "drain", "replica1", "<b>bold</b>")
    assert isinstance(show(), Shown)
    assert "<b>bold" not in show().html
    assert "<b>bold" in show().text
