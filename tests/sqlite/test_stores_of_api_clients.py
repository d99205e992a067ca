"""The stores ``header`` and ``cache``, and several stores at once."""

import time

import pytest
from django.conf import settings as django_settings
from django.core import signing
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from django.views.decorators.cache import cache_control, cache_page

from django_rwrouter import process
from django_rwrouter.stores import exchange as client_module
from django_rwrouter.stores.cache import CacheStore
from tests.app.models import Book
from tests.sqlite.conftest import events

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

HEADER = "X-Read-Your-Writes"
SESSION = django_settings.SESSION_COOKIE_NAME


@pytest.fixture(autouse=True)
def empty_cache(settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def store(settings, routed):
    """Choose the store: ``store("header")``."""

    def choose(*names, **more):
        value = names[0] if len(names) == 1 else list(names)
        settings.RWROUTER = {**settings.RWROUTER, "STORE": value, **more}

    def view(request):
        if request.method == "POST":
            Book.objects.create(title="new")
        response = HttpResponse(Book.objects.count())
        for name, value in getattr(view, "headers", {}).items():
            response[name] = value
        return response

    def writing(_request):
        Book.objects.create(title="new")
        return HttpResponse()

    choose.view = view
    choose.writing = writing
    settings.ROOT_URLCONF = (path("", view),)
    # Without Django's sessions, which would end one that is not stored.
    settings.MIDDLEWARE = ["django_rwrouter.middleware.ReadWriteMiddleware"]
    return choose


@pytest.fixture
def is_pinned(routed):
    def is_pinned(client=None, **headers):
        routed.clear()
        (client or Client()).get("/", headers=headers)
        [decision] = routed
        return decision.reason.value == "pinned"

    return is_pinned


# --- header -------------------------------------------------------------------------------------


def test_the_header_goes_forth_and_back(store, is_pinned):
    store("header")
    response = Client().post("/")
    assert response[HEADER]
    assert (response["Vary"], response["Cache-Control"]) == (HEADER, "private")
    assert not response.cookies
    assert is_pinned(**{HEADER: response[HEADER]})
    assert not is_pinned()


@pytest.mark.parametrize("between", [",", ", "])
def test_a_header_that_is_sent_twice_counts(store, is_pinned, between):
    store("header")
    token = Client().post("/")[HEADER]
    for value in (f"{token}{between}forged", f"forged{between}{token}", f"{token}{between}{token}"):
        assert is_pinned(**{HEADER: value})


def test_a_header_of_very_many_is_not_read_to_its_end(store, is_pinned):
    store("header")
    token = Client().post("/")[HEADER]
    assert is_pinned(**{HEADER: f"a,a,a,{token}"})
    assert not is_pinned(**{HEADER: f"a,a,a,a,{token}"})


def test_it_may_have_another_name(store, is_pinned):
    store("header", HEADER="X-Token")
    value = Client().post("/")["X-Token"]
    assert is_pinned(**{"X-Token": value})
    assert not is_pinned(**{HEADER: value})


def test_what_wrote_nothing_says_nothing(store):
    store("header")
    token = Client().post("/")[HEADER]
    for headers in ({}, {HEADER: token}):
        response = Client().get("/", headers=headers)
        assert {HEADER, "Vary", "Cache-Control"}.isdisjoint(response.headers)


@pytest.mark.parametrize(
    ("name", "value"), [("Cache-Control", "public, max-age=60"), ("Expires", "Thu, 01 Jan 2026 00:00:00 GMT")]
)
def test_what_the_view_says_about_caching_stays(store, name, value):
    store("header")
    store.view.headers = {name: value, "Vary": "Accept"}
    response = Client().post("/")
    assert response[name] == value
    assert response["Vary"] == f"Accept, {HEADER}"
    assert ("private" in response["Cache-Control"]) == (name == "Expires")


@pytest.mark.parametrize("decorated", [False, True], ids=["per-site cache", "cache_page"])
def test_a_response_with_a_token_is_not_cached_by_caches_between(store, settings, decorated):
    store("cookie", "header")
    settings.CACHE_MIDDLEWARE_SECONDS = 60
    settings.ROOT_URLCONF = (path("", cache_page(60)(store.writing) if decorated else store.writing),)
    if not decorated:
        settings.MIDDLEWARE += [
            "django.middleware.cache.UpdateCacheMiddleware",
            "django.middleware.cache.FetchFromCacheMiddleware",
        ]
    assert "private" in Client().get("/")["Cache-Control"]


def test_what_the_site_calls_public_stays_public(store, settings):
    store("cookie", "header")
    settings.ROOT_URLCONF = (path("", cache_control(public=True, max_age=60)(store.writing)),)
    assert "private" not in Client().get("/")["Cache-Control"]


@pytest.mark.parametrize(
    ("value", "flaw"),
    [
        ("forged", "forged"),
        ("x" * 5000, "oversized"),
        (
            signing.Signer(salt="django_rwrouter.scope.token").sign_object([1, {"default": ["x"]}]),
            "malformed",
        ),
        (signing.Signer(salt="another").sign_object([1, {"default": [2e9]}]), "forged"),
    ],
    ids=["forged", "oversized", "malformed", "of another salt"],
)
def test_a_stranger_s_header_is_as_none(store, is_pinned, value, flaw):
    store("header")
    assert not is_pinned(**{HEADER: value})
    assert events()["token_rejected", flaw] == 1


# --- cache --------------------------------------------------------------------------------------


def visitor(session=""):
    client = Client()
    if session:
        client.cookies[SESSION] = session
    return client


def test_a_session_has_one_token_on_all_its_tabs(store, is_pinned):
    store("cache")
    response = visitor("s1").post("/")
    assert not response.cookies
    assert is_pinned(visitor("s1"))
    assert not is_pinned(visitor("s2"))
    assert not is_pinned(visitor())


def test_two_devices_of_one_account_agree(store, is_pinned):
    store("cache")
    Client().post("/", headers={"Authorization": "Bearer one"})
    assert is_pinned(Authorization="Bearer one")
    assert not is_pinned(Authorization="Bearer two")
    assert not is_pinned(Authorization="")


def test_the_session_is_asked_before_the_account(store, is_pinned):
    store("cache")
    visitor("s1").post("/", headers={"Authorization": "Bearer one"})
    assert is_pinned(visitor("s1"))
    assert not is_pinned(Authorization="Bearer one")


def test_a_session_is_not_taken_for_an_account(store, is_pinned):
    store("cache")
    visitor("same").post("/")
    assert not is_pinned(Authorization="same")


def test_who_is_nobody_has_no_token(store, is_pinned):
    store("cache")
    Client().post("/")
    assert not is_pinned()
    assert not cache._cache  # Nothing was stored.


def test_neither_session_nor_account_can_be_read_in_the_cache(store):
    store("cache")
    visitor("the session's secret").post("/")
    Client().post("/", headers={"Authorization": "Bearer the secret of the account"})
    stored = repr(cache._cache)
    assert "rwrouter" in stored
    assert "secret" not in stored


def test_logging_in_keeps_the_token(store, is_pinned, settings):
    """The response makes a new session."""
    store("cache")

    def login(request):
        Book.objects.create(title="new")
        response = HttpResponse()
        response.set_cookie(SESSION, "after")
        return response

    settings.ROOT_URLCONF = (path("", login),)
    visitor("before").post("/")
    settings.ROOT_URLCONF = (path("", store.view),)
    assert is_pinned(visitor("before"))
    assert is_pinned(visitor("after"))


def test_a_session_that_is_replaced_takes_the_token_along(store, is_pinned, settings):
    """In a request that writes nothing, and reads nothing that depends on the token."""
    store("cache")
    visitor("before").post("/")

    def cycled(_request):
        response = HttpResponse()
        response.set_cookie(SESSION, "after")
        return response

    settings.ROOT_URLCONF = (path("", cycled),)
    visitor("before").post("/")
    settings.ROOT_URLCONF = (path("", store.view),)
    assert is_pinned(visitor("after"))


def test_something_else_in_the_place_of_the_session_is_no_failure_of_the_cache(store, is_pinned, settings):
    store("cache")

    def view(request):
        request.session = {}
        return store.writing(request)

    settings.ROOT_URLCONF = (path("", view),)
    assert visitor("someone").post("/").status_code == 200
    assert not [name for name, _subject in events() if name == "store_failed"]
    settings.ROOT_URLCONF = (path("", store.view),)
    assert is_pinned(visitor("someone"))


def test_a_session_that_ends_leaves_the_token_to_the_account(store, is_pinned, settings):
    store("cache")
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.sessions.middleware.SessionMiddleware"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"

    def view(request):
        if request.method == "PUT":
            request.session["basket"] = "full"
        if request.method == "POST":
            Book.objects.create(title="new")
        if request.method == "DELETE":
            request.session.flush()
            return HttpResponse()
        return HttpResponse(Book.objects.count())

    settings.ROOT_URLCONF = (path("", view),)
    client, account = Client(), {"Authorization": "Bearer 1"}
    for method in (client.put, client.post, client.delete):
        method("/", headers=account)
    assert is_pinned(client, **account)


class Changes:
    """Views that change what a browser is known by, and one that reads."""

    def __init__(self, settings):
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.sessions.middleware.SessionMiddleware"]
        settings.ROOT_URLCONF = (
            path("", self.read),
            path("write/", self.write),
            path("change/<str:change>/", self.change),
        )
        self.browser = Client(raise_request_exception=False)

    @staticmethod
    def read(_request):
        return HttpResponse(Book.objects.count())

    @staticmethod
    def write(_request):
        Book.objects.create(title="new")
        return HttpResponse()

    @staticmethod
    def change(request, change):
        if "write" in change:
            Book.objects.create(title="new")
        if "set" in change:
            request.session["basket"] = "full"
        if "flush" in change:
            request.session.flush()
        if "cycle" in change:
            request.session.cycle_key()
        if "expire" in change:
            request.session.set_expiry(-1)
        if "vanish" in change:
            type(request.session)(request.session.session_key).delete()
        return HttpResponse(status=500 if "fail" in change else 200)


ENGINES = ["db", "signed_cookies"]


@pytest.fixture(params=ENGINES)
def changes(request, store, settings, tmp_path):
    store("cache")
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    return Changes(settings)


@pytest.mark.parametrize("monotonic", [False, True])
def test_logging_out_leaves_the_token_to_the_cookie(changes, store, is_pinned, monotonic):
    store("cache", MONOTONIC_READS=monotonic)
    for way in ("change/set", "write", "change/flush"):
        changes.browser.post(f"/{way}/")
    assert changes.browser.cookies[SESSION].value == ""
    assert is_pinned(changes.browser)
    assert is_pinned(changes.browser)


@pytest.mark.parametrize("account", [{}, {"Authorization": "Bearer 1"}], ids=["browser", "with an account"])
@pytest.mark.parametrize("first", [[], ["set"]], ids=["without a session", "with a session"])
@pytest.mark.parametrize(
    "change", ["flush", "cycle", "set", "expire", "vanish", "flush+set", "fail+flush", "fail+cycle", "fail"]
)
def test_whatever_becomes_of_its_session_a_client_keeps_its_pin(changes, is_pinned, first, change, account):
    """Written before the change, or with it; nothing has looked at the token when the session goes."""
    for ways in (["write", change], [f"write+{change}"]):
        browser = changes.browser = Client(raise_request_exception=False)
        for way in first + ways:
            browser.post("/write/" if way == "write" else f"/change/{way}/", headers=account)
        assert [is_pinned(browser, **account) for _visit in range(3)] == [True] * 3


def test_a_visitor_without_a_session_is_known_by_the_cookie(changes, is_pinned):
    changes.browser.post("/write/")
    assert set(changes.browser.cookies) == {"rwrouter"}
    assert is_pinned(changes.browser)
    changes.browser.post("/change/set/")
    assert is_pinned(changes.browser)


def test_what_another_tab_wrote_meanwhile_moves_along(changes, is_pinned, settings):
    """The one that replaces the session has looked at the token before the other one wrote."""
    changes.browser.post("/change/set/")
    other_tab = Client()
    other_tab.cookies[SESSION] = changes.browser.cookies[SESSION].value

    def slow(request):
        Book.objects.count()
        other_tab.post("/write/")
        request.session["visits"] = 1
        request.session.cycle_key()
        return HttpResponse()

    settings.ROOT_URLCONF += (path("slow/", slow),)
    changes.browser.get("/slow/")
    assert is_pinned(changes.browser)


def test_parallel_responses_do_not_overwrite_each_other():
    """Both were read before either was written: each is in a slot of its own."""
    stored, request, response = CacheStore(), visitor_request("s1"), HttpResponse()
    for number in range(10):
        stored.save(request, response, f"token {number}", 60)
    assert set(stored.load(request)) >= {f"token {number}" for number in range(10)}


def test_what_is_stored_does_not_grow_for_ever():
    stored, request = CacheStore(), visitor_request("s1")
    for number in range(100):
        stored.save(request, HttpResponse(), f"token {number}", 60)
    found = stored.load(request)
    assert len(found) <= 16
    assert "token 99" in found


def test_no_key_outlives_the_token(store, monkeypatch):
    store("cache", PIN_SECONDS=5)
    lifetimes = []
    backend_timeout = LocMemCache.get_backend_timeout

    def noted(self, timeout=None):
        lifetimes.append(timeout)
        return backend_timeout(self, timeout)

    monkeypatch.setattr(LocMemCache, "get_backend_timeout", noted)
    visitor("s1").post("/")
    visitor("s1").post("/")
    assert set(lifetimes) == {5}


@pytest.mark.parametrize("engine", ["db", "cache", "cached_db", "file", "signed_cookies"])
def test_made_up_sessions_leave_nothing_in_the_cache(store, settings, engine, tmp_path):
    store("cache")
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.MIDDLEWARE += ["django.contrib.sessions.middleware.SessionMiddleware"]
    for number in range(5):
        visitor(f"madeup{number}").post("/")
    assert not [key for key in cache._cache if "rwrouter" in key]


@pytest.mark.parametrize("engine", ["db", "cache", "cached_db", "file", "signed_cookies"])
def test_a_real_session_is_a_client(store, is_pinned, settings, engine, tmp_path):
    store("cache")
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.MIDDLEWARE += ["django.contrib.sessions.middleware.SessionMiddleware"]
    client = Client()
    session = client.session
    session["a"] = 1
    session.save()
    client.cookies[SESSION] = session.session_key
    client.post("/")
    assert is_pinned(client)


def test_a_secret_key_that_was_replaced_still_finds_the_client(store, is_pinned, settings):
    store("cache")
    visitor("s1").post("/")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    assert is_pinned(visitor("s1"))
    settings.SECRET_KEY_FALLBACKS = []
    assert not is_pinned(visitor("s1"))


# --- a cache server that is away ------------------------------------------------------------------


class Careless:
    """A store of the project's own."""

    blocks = False
    values = ()

    def load(self, request):
        return self.values

    def save(self, request, response, token, max_age):
        type(self).values = token


def test_a_store_may_return_what_can_be_looked_at_once(store, is_pinned, monkeypatch):
    store("header")
    token = Client().post("/")[HEADER]
    store(f"{__name__}.Careless")
    monkeypatch.setattr(Careless, "load", lambda _store, _request: (value for value in [token]))
    assert is_pinned()


@pytest.mark.parametrize("values", ["token", [3], [b"token"], 3, {"a": 1}.values()], ids=str)
def test_a_store_that_returns_no_list_of_strings_is_named_and_its_clients_read_from_the_primary(
    store, is_pinned, monkeypatch, caplog, values
):
    """A string is a sequence of strings, too: each of its characters would be a forged token."""
    store(f"{__name__}.Careless")
    assert not is_pinned()
    monkeypatch.setattr(Careless, "values", values)
    assert is_pinned()
    assert "Careless failed" in caplog.text
    assert "must return a list of strings" in caplog.text or values == 3
    # As for a store that is away.
    assert len([record for record in caplog.records if record.name == "django_rwrouter"]) == 1


class Away(LocMemCache):
    """A cache whose server can be away, for all calls or for some."""

    fails = frozenset()
    calls = 0

    def __getattribute__(self, name):
        if name in Away.fails:
            Away.calls += 1
            raise ConnectionError("Connection refused.")
        return super().__getattribute__(name)


@pytest.fixture
def away(settings, store):
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Away", "LOCATION": "away"}}
    Away.fails, Away.calls = frozenset(), 0
    yield Away
    Away.fails = frozenset()


EVERYTHING = {"get", "get_many", "set", "add", "incr", "touch"}


@pytest.mark.parametrize("fails", [EVERYTHING, {"get_many", "get"}, {"set"}, {"add"}, {"incr"}], ids=str)
def test_while_the_cache_is_away_its_clients_are_answered_from_the_primary(store, is_pinned, away, fails):
    store("cache")
    away.fails = fails
    assert Client().post("/", headers={"Authorization": "key"}).status_code == 200
    assert is_pinned(Authorization="key")
    assert not is_pinned()  # Who is nobody has no token there.


def end_suspension():
    for outage in client_module._outages.values():
        outage.retry_at = 0.0


def test_a_lost_token_counts_when_the_cache_is_back(store, is_pinned, away, monkeypatch):
    store("cache")
    away.fails = {"set"}
    Client().post("/", headers={"Authorization": "key"})
    away.fails = ()
    end_suspension()
    assert is_pinned(Authorization="key")
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 6)
    assert not is_pinned(Authorization="key")


def test_browsers_get_the_token_in_a_cookie_instead(store, is_pinned, away):
    store("cache")
    away.fails = EVERYTHING
    browser = visitor("s1")
    assert browser.post("/").cookies["rwrouter"].value
    away.fails = ()
    process.reset()  # Another process, which has seen nothing of it.
    assert is_pinned(browser)


def test_a_cache_that_is_away_is_not_waited_for_by_every_request(store, is_pinned, away, caplog, monkeypatch):
    store("cache")
    away.fails = EVERYTHING
    for _request in range(5):
        assert is_pinned(Authorization="key")
    assert away.calls == 1
    assert len([record for record in caplog.records if "CacheStore failed" in record.message]) == 1
    assert events()["store_failed", "CacheStore"] == 1
    away.fails = ()
    end_suspension()
    assert not is_pinned(Authorization="key")


def visitor_request(session):
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    request.COOKIES[SESSION] = session
    return request


def test_two_writes_at_once_are_merged_highest_wins(store, is_pinned, monkeypatch):
    import time

    store("cache", PIN_SECONDS=5)
    clock = time.time
    visitor("s1").post("/")
    monkeypatch.setattr(time, "time", lambda: clock() - 4)  # Another host, whose clock is behind.
    visitor("s1").post("/")
    process.reset()  # What that host has seen is not known here.
    monkeypatch.setattr(time, "time", lambda: clock() + 3)
    assert is_pinned(visitor("s1"))


# --- several ------------------------------------------------------------------------------------


def test_all_are_written_and_any_will_do(store, is_pinned):
    store("cookie", "header")
    browser = Client()
    response = browser.post("/")
    assert response[HEADER] == browser.cookies["rwrouter"].value
    assert {name.strip() for name in response["Vary"].split(",")} == {"Cookie", HEADER}
    assert is_pinned(browser)
    assert is_pinned(**{HEADER: response[HEADER]})
    assert not is_pinned()


def test_the_highest_of_all_wins(store, is_pinned, monkeypatch):
    import time

    store("cookie", "header")
    old, new = Client(), Client()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 4)
    old.post("/")
    monkeypatch.setattr(time, "time", clock)
    token = new.post("/")[HEADER]
    monkeypatch.setattr(time, "time", lambda: clock() + 3)
    assert not is_pinned(old)
    assert is_pinned(old, **{HEADER: token})
    assert is_pinned(new, **{HEADER: "forged"})


@pytest.mark.parametrize("other", ["session", "cache"])
def test_who_reads_with_a_header_needs_neither_session_nor_cookie(store, settings, is_pinned, other):
    store(other, "header")
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", *settings.MIDDLEWARE]
    token = Client().post("/")[HEADER]
    reader = Client()
    assert is_pinned(reader, **{HEADER: token})
    assert not reader.cookies


def test_the_cache_gets_what_the_cookie_brought(store, is_pinned):
    store("cookie", "cache")
    writer = Client()
    writer.post("/")  # It has no session yet.
    writer.cookies[SESSION] = "s1"
    assert is_pinned(writer)
    assert is_pinned(visitor("s1"))


class StoreOfTheSites:
    """One that has more methods than a store needs."""

    blocks = True

    def load(self, request):
        return ()

    def save(self, request, response, token, max_age):
        """Keep nothing."""

    def refresh(self, everything):
        raise AssertionError("It is the site's own.")


def test_a_store_of_the_sites_needs_no_sessions(store):
    store(f"{__name__}.StoreOfTheSites")
    assert Client().post("/").status_code == 200
