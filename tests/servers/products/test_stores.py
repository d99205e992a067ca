"""Two responses of one browser that arrive in the wrong order: what each store makes of it."""

from importlib import import_module

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.test import Client

from django_rwrouter import Reason
from tests.servers.products.test_levels import catch_up, reasons, shown

pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def empty_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def crossed(cluster):
    """A browser whose first write's response arrives last.

    The replicas have the first write, and not the second. Returns the browser.
    """
    session = import_module(django_settings.SESSION_ENGINE).SessionStore()
    session.create()  # A session that does not exist is no client's.
    for replica in cluster.replicas:
        cluster.pause(replica)

    def crossed():
        tabs = [Client(), Client()]
        for tab in tabs:
            tab.cookies[django_settings.SESSION_COOKIE_NAME] = session.session_key
        tabs[0].post("/plain/", {"title": "first"})
        catch_up(cluster, 0, 1)
        tabs[1].post("/plain/", {"title": "second"})
        browser = Client()
        for tab in reversed(tabs):  # The one that arrives later overwrites the cookies.
            for name, morsel in tab.cookies.items():
                browser.cookies[name] = morsel.value
        return browser

    return crossed


@pytest.mark.parametrize("store", ["cache", ["cookie", "cache"]], ids=["cache", "cookie and cache"])
def test_with_the_cache_no_write_is_lost(crossed, cluster, rwrouter, routed, store):
    rwrouter(STORE=store)
    browser = crossed()
    routed.clear()
    assert shown(browser.get("/plain/")) == "old,first,second"
    assert reasons(routed) == {("default", Reason.BEHIND)}
    catch_up(cluster, 1)
    routed.clear()
    assert shown(browser.get("/plain/")) == "old,first,second"
    assert reasons(routed) == {("replica2", Reason.CAUSAL)}


def test_with_cookies_the_second_write_is_missed_until_a_replica_has_it(crossed, rwrouter, routed):
    """What remains: the browser keeps the token that arrived last. The docs say so."""
    rwrouter(STORE="cookie")
    browser = crossed()
    routed.clear()
    assert shown(browser.get("/plain/")) == "old,first"
    assert {reason for _alias, reason in reasons(routed)} == {Reason.CAUSAL}


def test_positions_make_it_nearly_harmless(cluster, rwrouter, routed):
    """Both wrote before either was answered: each position covers both writes, for it is the server's."""
    rwrouter(STORE="cookie")
    for replica in cluster.replicas:
        cluster.pause(replica)
    browser, other = Client(), Client()
    other.post("/plain/", {"title": "first"})
    browser.post("/plain/", {"title": "second"})
    catch_up(cluster, 0)
    assert shown(browser.get("/plain/")) == "old,first,second"


def test_an_api_client_carries_a_header(cluster, rwrouter, routed):
    rwrouter(STORE="header")
    for replica in cluster.replicas:
        cluster.pause(replica)
    response = Client().post("/plain/", {"title": "new"})
    headers = {"X-Read-Your-Writes": response["X-Read-Your-Writes"]}
    assert shown(Client().get("/plain/")) == "old"
    assert shown(Client().get("/plain/", headers=headers)) == "old,new"
    catch_up(cluster, 0)
    routed.clear()
    assert shown(Client().get("/plain/", headers=headers)) == "old,new"
    assert reasons(routed) == {("replica1", Reason.CAUSAL)}
