"""What the statistics count as the site's traffic, and what not: a fresh site opens on an empty panel."""

import pytest
from django.core.management import call_command
from django.http import HttpResponse

from django_rwrouter import current_token, routing_scope
from django_rwrouter.stats import recorder
from django_rwrouter.stats.summary import percent
from tests.app.models import Book
from tests.sqlite.conftest import events
from tests.sqlite.panel.conftest import PAGES, URL

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def counted():
    return [entry for row in recorder._counters.take() for entry in row.data["statements"]]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_panel_does_not_count_with_all_that_leads_to_it(admin, page):
    recorder.reset()
    assert admin.get(URL + page).status_code == 200
    rows = recorder._counters.take()
    assert [(row.data["statements"], row.data["events"]) for row in rows] in ([], [([], [])])


def test_an_action_does_not_count_but_for_its_event(admin):
    recorder.reset()
    assert admin.post(f"{URL}actions/drain/replica1/", {"reason": ""}).status_code == 302
    found = recorder._counters.take()
    assert [row.data["statements"] for row in found] in ([], [[]])
    assert not {name for row in found for name, *_more in row.data["events"]} & {"request", "pinned_request"}


def test_the_rest_of_the_admin_counts(admin):
    recorder.reset()
    admin.get("/admin/")
    assert counted()


def test_to_look_whether_all_is_migrated_does_not_count(databases):
    recorder.reset()
    call_command("migrate", check_unapplied=True, verbosity=0)
    assert not counted()


def test_scopes_inside_a_request_make_no_pinned_request(site):
    def write_and_look(_request):
        Book.objects.create(title="new")
        for _place in range(3):
            with routing_scope(safe=True, token=current_token()):
                Book.objects.count()
        return HttpResponse()

    site.post(write_and_look)
    site.get(lambda _request: HttpResponse(Book.objects.count()))
    found = events()
    assert (found["request", ""], found["pinned_request", "default"]) == (2, 1)


def test_a_share_is_at_most_all_of_it():
    assert (percent(3, 1), percent(1, 4), percent(1, 0)) == (100.0, 25.0, 0.0)
