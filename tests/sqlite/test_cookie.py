"""The cookie: what it says, when it is set, and that nothing a stranger sends pins anybody."""

import base64
import time

import pytest
from django.core import signing
from django.db import router
from django.http import HttpResponse
from django.test import RequestFactory
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from django_rwrouter.middleware import ReadWriteMiddleware
from django_rwrouter.scope.token import MAX_LENGTH, SALT, Mark, Token
from tests.app.models import Book
from tests.sqlite.conftest import REPLICAS, events, reason


def write(_request=None):
    Book.objects.create(title="new")


def token(seconds_ago=0.0, cluster="default"):
    return Token({cluster: Mark(time.time() - seconds_ago)}).encode()


def with_settings(settings, **setting):
    settings.RWROUTER = {**settings.RWROUTER, **setting}


# --- what it says ------------------------------------------------------------------------------------


def test_its_attributes(site):
    cookie = site.post(write).cookies["rwrouter"]
    found = {name: cookie[name] for name in ("path", "domain", "secure", "httponly", "samesite", "max-age")}
    assert found == {
        "path": "/",
        "domain": "",
        "secure": "",
        "httponly": True,
        "samesite": "Lax",
        "max-age": 5,
    }


@pytest.mark.parametrize("secure", [True, False])
def test_it_is_as_secure_as_the_sessions_cookie_is_now(site, settings, secure):
    site.post(write)
    settings.SESSION_COOKIE_SECURE = secure
    assert bool(site.post(write).cookies["rwrouter"]["secure"]) is secure


@pytest.mark.parametrize(
    ("vary", "cached", "wanted"),
    [
        ("", "", ("Cookie", "private")),
        ("Accept", "max-age=60", ("Accept, Cookie", "max-age=60, private")),
        ("Cookie", "public", ("Cookie", "public")),
    ],
)
def test_shared_caches_are_told_beside_what_the_view_has_told_them(site, vary, cached, wanted):
    def view(request):
        write()
        said = {"Vary": vary, "Cache-Control": cached}
        return HttpResponse(headers={name: value for name, value in said.items() if value})

    response = site.post(view)
    assert (response["Vary"], response["Cache-Control"]) == wanted


def test_its_attributes_can_be_set(site, settings):
    with_settings(
        settings,
        PIN_SECONDS=7.2,
        COOKIE={
            "NAME": "w",
            "PATH": "/shop/",
            "DOMAIN": "example.com",
            "SECURE": True,
            "HTTPONLY": False,
            "SAMESITE": "Strict",
        },
    )
    cookie = site.post(write).cookies["w"]
    found = {name: cookie[name] for name in ("path", "domain", "secure", "httponly", "samesite", "max-age")}
    assert found == {
        "path": "/shop/",
        "domain": "example.com",
        "secure": True,
        "httponly": "",
        "samesite": "Strict",
        "max-age": 8,  # rounded up
    }


@pytest.mark.parametrize(
    ("of_sessions", "own", "secure"),
    [(False, None, ""), (True, None, True), (True, False, ""), (False, True, True)],
)
def test_it_is_as_secure_as_the_sessions_unless_said_otherwise(site, settings, of_sessions, own, secure):
    settings.SESSION_COOKIE_SECURE = of_sessions
    with_settings(settings, COOKIE={"SECURE": own})
    assert site.post(write).cookies["rwrouter"]["secure"] == secure


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "private"),
        ({"Cache-Control": "max-age=60"}, "max-age=60, private"),
        ({"Cache-Control": "no-cache"}, "no-cache, private"),
        ({"Cache-Control": "no-store"}, "no-store"),
        ({"Cache-Control": "s-maxage=60"}, "s-maxage=60"),
        ({"Cache-Control": "public"}, "public"),
        ({"Expires": "Thu, 01 Jan 2026 00:00:00 GMT"}, "private"),
    ],
    ids=str,
)
def test_a_shared_cache_is_told_not_to_hand_it_to_others(site, headers, expected):
    def view(_request):
        write()
        return HttpResponse("x", headers=headers)

    response = site.post(view)
    assert response.get("Cache-Control") == expected
    assert "Cookie" in response["Vary"]


def test_an_existing_vary_is_kept(site):
    def view(_request):
        write()
        return HttpResponse("x", headers={"Vary": "Accept-Language"})

    assert site.post(view)["Vary"] == "Accept-Language, Cookie"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_response_that_wrote_nothing_says_nothing(site, method):
    response = site.visit(method, lambda _request: reason())
    assert not response.cookies
    assert not response.has_header("Vary")
    assert not response.has_header("Cache-Control")


def test_a_pinned_client_that_only_reads_is_told_nothing(site):
    site.post(write)
    response = site.get(lambda _request: reason())
    assert response.text == "pinned"
    assert not response.cookies
    assert not response.has_header("Vary")


def test_a_second_write_renews_the_pin(site, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    site.post(write)
    monkeypatch.setattr(time, "time", lambda: now + 4)
    site.post(write)
    monkeypatch.setattr(time, "time", lambda: now + 8)
    assert site.get(lambda _request: reason()).text == "pinned"


def test_the_time_is_taken_after_the_view(site, monkeypatch):
    """After the commit, that is: a time from before it would end the pin too early."""
    now = time.time()
    clock = iter(now + second for second in range(1000))
    monkeypatch.setattr(time, "time", lambda: next(clock))

    def view(_request):
        write()
        return time.time()

    response = site.post(view)
    _version, marks = signing.Signer(salt=SALT).unsign_object(response.cookies["rwrouter"].value)
    assert marks["default"][0] > float(response.text)


def test_pins_are_counted(site):
    site.post(write)
    site.get(lambda _request: reason() + reason())
    found = events()
    assert (found["request", ""], found["pin_set", ""], found["pinned_request", "default"]) == (2, 1, 1)


# --- what strangers send -----------------------------------------------------------------------------

MADE_UP = {
    "nothing": lambda: "",
    "text": lambda: "hello",
    "true": lambda: "1",
    "a time": lambda: str(time.time()),
    "unsigned": lambda: token().rpartition(":")[0],
    "truncated": lambda: token()[:-1],
    "signed with another key": lambda: signing.Signer(key="x", salt=SALT).sign_object(
        [1, {"default": [time.time()]}]
    ),
    "signed for another purpose": lambda: signing.dumps([1, {"default": [time.time()]}]),
    "oversized": lambda: "x" * (MAX_LENGTH + 1),
    "expired": lambda: token(seconds_ago=5.1),
    "of another project": lambda: token(cluster="shop"),
}
FLAWS = {"oversized": "oversized", "expired": None, "of another project": "foreign", "nothing": None}


@pytest.mark.parametrize("name", MADE_UP)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_cookie_that_is_not_ours_pins_nobody_and_breaks_nothing(site, name, method):
    site.client.cookies["rwrouter"] = MADE_UP[name]()
    response = site.visit(method, lambda _request: reason())
    assert response.text == {"GET": "window", "POST": "unsafe_method"}[method]
    assert not response.cookies
    if method == "GET":
        flaw = FLAWS.get(name, "forged")
        assert events().get(("token_rejected", flaw), 0) == (0 if flaw is None else 1)
    site.post(write)
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize(
    "header", ["X-Read-Your-Writes", "X-Use-Primary", "X-HTTP-Method-Override", "Cache-Control"]
)
def test_no_header_forces_the_primary(site, header):
    assert site.get(lambda _request: reason(), **{header: token()}).text == "window"


def test_a_good_cookie_pins(site):
    """Without this, the tests above would show nothing."""
    site.client.cookies["rwrouter"] = token()
    assert site.get(lambda _request: reason()).text == "pinned"


def test_a_time_in_the_future_counts_as_now(site):
    site.client.cookies["rwrouter"] = token(seconds_ago=-3600)
    assert site.get(lambda _request: reason()).text == "pinned"


def test_looking_at_the_cookie_asks_no_database(site, django_assert_num_queries):
    """Only the statements of the user are seen, wherever they go."""
    site.client.cookies["rwrouter"] = token()

    def view(_request):
        return Book.objects.count()

    site.get(view)
    with django_assert_num_queries(1):
        site.get(view)


GOOD = token()
values = st.one_of(
    st.binary().map(lambda raw: raw.decode("latin-1")),
    st.text(st.characters(max_codepoint=255)),
    st.integers(0, len(GOOD) - 1).map(lambda end: GOOD[:end]),
    st.tuples(st.integers(0, len(GOOD) - 1), st.characters(max_codepoint=255)).map(
        lambda change: GOOD[: change[0]] + change[1] + GOOD[change[0] + 1 :]
    ),
    st.tuples(st.binary(), st.text(st.characters(max_codepoint=255))).map(
        lambda parts: base64.urlsafe_b64encode(parts[0]).decode() + ":" + parts[1]
    ),
    st.sampled_from(["rwrouter", "rwrouter=x; rwrouter", ";;=;", "x" * 5000]),
)


def alias(_request):
    return HttpResponse(router.db_for_read(Book))


@settings(
    max_examples=10_000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values)
def test_10_000_random_truncated_and_forged_cookies_raise_nothing_and_pin_nobody(databases, value):
    assume(GOOD not in value)
    request = RequestFactory().get("/", HTTP_COOKIE=f"rwrouter={value}")
    response = ReadWriteMiddleware(alias)(request)
    assert response.content.decode() in REPLICAS
    assert not response.cookies

    request = RequestFactory().get("/")
    request.COOKIES["rwrouter"] = value  # as it is, whatever the parser would have made of it
    assert ReadWriteMiddleware(alias)(request).content.decode() in REPLICAS


def test_the_same_with_a_good_cookie_pins(databases):
    """Without this, the test above would show nothing."""
    request = RequestFactory().get("/", HTTP_COOKIE=f"rwrouter={token()}")
    assert ReadWriteMiddleware(alias)(request).content == b"default"
