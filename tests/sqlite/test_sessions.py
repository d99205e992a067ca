"""Logging in, out, and failing, with every session backend of Django and both stores."""

import asyncio
import contextlib
import copy
import gc
import pickle
import threading
import weakref
from http.cookies import SimpleCookie

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import alogout, get_user, login, logout
from django.contrib.auth.models import User
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.core.signing import Signer
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from django_rwrouter import consistency, current_token, restore_token, routing_scope
from django_rwrouter.middleware import ReadWriteMiddleware
from django_rwrouter.scope.context import Isolation
from django_rwrouter.stores import exchange
from django_rwrouter.testing import capture_routing
from tests.app.models import Book, Tag
from tests.sqlite.conftest import events, reason, replicate

BACKENDS = ["db", "cache", "cached_db", "file", "signed_cookies"]
STORES = {"cookie": "cookie", "session": "session", "both": ["cookie", "session"]}
AFTER_SESSIONS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django_rwrouter.middleware.ReadWriteMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


@pytest.fixture
def user(databases):
    user = User.objects.create(username="ann")
    replicate()
    return user


@pytest.fixture
def store(request, settings):
    """Where the token is kept; indirect parameter."""
    settings.RWROUTER = {**settings.RWROUTER, "STORE": STORES[request.param]}
    if request.param != "cookie":
        settings.MIDDLEWARE = AFTER_SESSIONS
    return request.param


@pytest.fixture(params=BACKENDS)
def backend(request, settings, tmp_path):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    caches["default"].clear()
    return request.param


def both_stores(test):
    """Run with each backend and store; views that run in threads of their own make no difference here."""
    test = pytest.mark.parametrize("store", ["cookie", "session"], indirect=True)(test)
    return pytest.mark.parametrize("site", ["wsgi", "asgi"], indirect=True)(test)


session_store = pytest.mark.parametrize("store", ["session"], indirect=True)


def log_in(request):
    login(request, User.objects.get(username="ann"))


def write(_request=None):
    Book.objects.create(title="new")


def who(request):
    return f"{get_user(request).username} {reason()}"


# --- flows -------------------------------------------------------------------------------------------


@both_stores
def test_who_logs_in_is_logged_in_on_the_next_page(user, site, backend, store):
    site.post(log_in)
    assert site.get(who).text == "ann pinned"


@both_stores
def test_who_logged_in_is_logged_in_once_the_pin_is_over(user, site, backend, store, settings):
    """The replicas have no row of the session, and never will."""
    site.post(log_in)
    site.client.cookies.pop("rwrouter", None)
    settings.RWROUTER = {**settings.RWROUTER, "PIN_SECONDS": 0.000001}
    assert site.get(who).text == "ann window"


@both_stores
def test_a_session_that_is_changed_pins_nobody(user, site, backend, store):
    def view(request):
        request.session["seen"] = request.session.get("seen", 0) + 1
        return f"{request.session['seen']} {reason()}"

    assert [site.get(view).text for _visit in range(3)] == ["1 window", "2 window", "3 window"]
    assert set(site.client.cookies) == {"sessionid"}


@both_stores
def test_a_write_pins_and_the_session_keeps_what_was_in_it(user, site, backend, store):
    def view(request):
        request.session["basket"] = "full"
        write()

    site.post(view)
    assert site.get(lambda request: f"{request.session['basket']} {reason()}").text == "full pinned"


@both_stores
def test_a_visitor_without_a_session_is_pinned_too(site, backend, store):
    site.post(write)
    # A session that is in the browser as a whole is overwritten by a slower response; a cookie is not.
    in_session = store == "session" and backend != "signed_cookies"
    assert set(site.client.cookies) == {"sessionid" if in_session else "rwrouter"}
    assert site.get(lambda _request: reason()).text == "pinned"


@both_stores
def test_logging_out_keeps_the_pin(user, site, backend, store):
    site.post(log_in)
    site.post(write)
    assert site.post(logout).status_code == 200
    assert site.get(who).text == " pinned"


@pytest.mark.parametrize("empty", ["flush", "clear"])
@session_store
def test_a_session_that_is_emptied_leaves_the_token(site, backend, store, empty):
    """The view has read nothing yet, so nobody has looked at the token before it is gone."""
    site.post(write)
    site.post(lambda request: getattr(request.session, empty)())
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize("empty", ["flush", "clear", "cycle_key", "delete"])
@both_stores
def test_it_is_found_there_by_the_request_that_empties_it(site, backend, store, empty):
    def view(request):
        getattr(request.session, empty)()
        return reason()

    site.post(write)
    assert site.get(view).text == "pinned"


@pytest.mark.parametrize("backend", ["db", "cached_db", "file", "cache"], indirect=True)
@session_store
def test_one_that_is_emptied_and_saved_at_once_leaves_it_as_well(site, backend, store):
    def view(request):
        request.session.clear()
        request.session.save()
        return reason()

    site.post(write)
    assert site.get(view).text == "pinned"
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize("backend", ["file"], indirect=True)
@session_store
def test_one_that_has_expired_is_ended_once(site, backend, store, tmp_path, settings):
    """This engine deletes a session when it loads one that has expired."""
    settings.SESSION_COOKIE_AGE = -1
    site.post(lambda request: request.session.update({"seen": 1}))
    site.get(lambda request: request.session.get("seen"))
    assert len(list(tmp_path.iterdir())) <= 2


@pytest.mark.parametrize("backend", ["db", "cache"], indirect=True)
@session_store
def test_a_session_that_ended_is_not_replaced_for_the_token_s_sake(site, backend, store):
    site.post(write)
    site.post(lambda request: request.session.flush())
    assert {name for name, cookie in site.client.cookies.items() if cookie.value} == {"rwrouter"}


@session_store
def test_a_session_that_is_replaced_before_a_server_error_leaves_the_token(site, backend, store):
    """The old one is deleted, and Django does not tell the client of the new one."""
    site.post(write)

    def view(request):
        request.session.cycle_key()
        return HttpResponse(status=500)

    site.post(view)
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize("site", ["asgi"], indirect=True)
@session_store
def test_also_where_nobody_may_wait_for_the_session(site, backend, store):
    site.post(write)

    async def view(request):
        await request.session.aflush()
        return HttpResponse()

    site.post(view)
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize("site", ["asgi"], indirect=True)
@pytest.mark.parametrize("store", ["session", "cookie"], indirect=True)
def test_a_token_asked_for_on_the_event_loop_is_one_of_a_client_that_wrote(site, store):
    """What the client brought is in its session, which would have to be waited for."""
    site.post(write)

    async def view(_request):
        with routing_scope(safe=True, token=current_token()):
            return HttpResponse(await sync_to_async(reason)())

    assert site.get(view).text == "pinned"


@both_stores
def test_logging_out_in_the_request_that_wrote_keeps_the_pin(user, site, backend, store):
    def view(request):
        write()
        logout(request)

    site.post(log_in)
    site.post(view)
    assert site.get(who).text == " pinned"


@both_stores
def test_an_async_view_that_logs_out_keeps_the_pin(user, site, backend, store):
    async def view(request):
        await alogout(request)

    site.post(log_in)
    site.post(write)
    site.post(view)
    assert site.get(who).text == " pinned"


@both_stores
@pytest.mark.parametrize("throw_away", ["flush", "cycle_key", "clear"])
def test_a_view_that_throws_its_session_away_keeps_the_pin(user, site, backend, store, throw_away):
    """If it has read before; otherwise nobody has looked at what the session had."""

    def view(request):
        assert reason() == "unsafe_method"
        with consistency("window"):
            assert reason() == "pinned"
        getattr(request.session, throw_away)()

    site.post(log_in)
    site.post(write)
    site.post(view)
    assert site.get(lambda _request: reason()).text == "pinned"


@both_stores
def test_a_session_that_expires_at_once_keeps_the_pin(user, site, backend, store):
    def view(request):
        request.session.set_expiry(-1)
        write(request)

    site.post(log_in)
    site.post(view)
    assert site.get(lambda _request: reason()).text == "pinned"


@both_stores
@pytest.mark.parametrize("touches", [False, True])
def test_a_late_poll_with_the_session_from_before_logs_nobody_out(user, site, store, settings, touches):
    """Looking for the token in a session that is gone leaves no trace: Django would delete the cookie."""
    site.post(lambda request: request.session.update({"basket": 1}))
    old = site.client.cookies["sessionid"].value
    site.post(log_in)
    new = site.client.cookies["sessionid"].value
    site.client.cookies["sessionid"] = old
    poll = write if touches else reason
    response = (site.post if touches else site.get)(lambda _request: poll())
    assert "sessionid" not in response.cookies
    site.client.cookies["sessionid"] = new
    assert site.get(lambda request: get_user(request).username).text == "ann"


@pytest.fixture
def ending(settings, store):
    """A middleware that ends sessions, as those do that log out who was idle for long."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.end_session"]


def end_session(get_response):
    def middleware(request):
        if "HTTP_X_END" in request.META:
            getattr(request.session, request.META["HTTP_X_END"])()
        return get_response(request)

    return middleware


@both_stores
@pytest.mark.parametrize("end", ["flush", "delete"])
def test_a_session_that_a_middleware_ends_keeps_the_pin(user, store, ending, site, backend, end):
    def view(request):
        request.session["basket"] = "full"
        write()

    site.post(view)
    site.get(lambda _request: "nothing is read", **{"X-End": end})
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))],
    ids=["copy", "deepcopy", "pickle"],
)
@both_stores
def test_a_copy_of_a_session_is_a_session_of_its_own(site, store, copied):
    def view(request):
        request.session["basket"] = "full"
        assert copied(request.session)["basket"] == "full"
        copied(request.session).clear()
        return request.session.get("basket")

    site.post(lambda request: request.session.update({"seen": 1}))
    assert site.get(view).text == "full"


class SessionWithState(import_string("django.contrib.sessions.backends.db.SessionStore")):
    """Says itself what a copy of it has, and refers to itself."""

    def __init__(self, session_key=None):
        super().__init__(session_key)
        self.itself = self
        self.lock = threading.Lock()

    def __getstate__(self):
        return [self.session_key, self.itself]

    def __setstate__(self, state):
        self.__init__(state[0])
        self.itself = state[1]


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))],
    ids=["copy", "deepcopy", "pickle"],
)
@both_stores
def test_a_session_s_own_state_is_what_its_copies_have(site, store, copied, monkeypatch):
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore", SessionWithState)

    def view(request):
        other = copied(request.session)
        assert type(other) is SessionWithState
        assert other.itself is (request.session if copied is copy.copy else other)
        return other.session_key == request.session.session_key

    site.post(lambda request: request.session.update({"seen": 1}))
    assert site.get(view).text == "True"


@both_stores
def test_logging_in_as_another_user_pins_for_the_new_one(user, site, backend, store):
    other = User.objects.create(username="bob")
    replicate()
    site.post(log_in)
    site.post(lambda request: login(request, other))
    assert site.get(who).text == "bob pinned"


@both_stores
def test_a_500_after_a_write_keeps_the_pin(user, site, backend, store):
    def view(_request):
        write()
        raise ZeroDivisionError

    site.post(log_in)
    site.client.cookies.pop("rwrouter", None)
    site.client.raise_request_exception = False
    assert site.post(view).status_code == 500
    assert site.get(who).text == "ann pinned"


@both_stores
@pytest.mark.parametrize("throw_away", [None, "flush", "cycle_key"])
def test_a_500_after_a_write_pins_whatever_the_session_was(user, site, backend, store, throw_away):
    def view(request):
        if throw_away:
            request.session["seen"] = 1
            getattr(request.session, throw_away)()
        write()
        raise ZeroDivisionError

    site.client.raise_request_exception = False
    assert site.post(view).status_code == 500
    assert [site.get(lambda _request: reason()).text for _visit in range(2)] == ["pinned"] * 2


@both_stores
@pytest.mark.parametrize("throw_away", ["flush", "cycle_key"])
def test_a_500_after_a_log_in_that_changed_the_session_pins(user, site, backend, store, throw_away, settings):
    def view(request):
        getattr(request.session, throw_away)()
        write()
        raise ZeroDivisionError

    settings.RWROUTER = {**settings.RWROUTER, "PIN_SECONDS": 0.000001}
    site.post(log_in)
    settings.RWROUTER = {**settings.RWROUTER, "PIN_SECONDS": 5}
    site.client.raise_request_exception = False
    site.post(view)
    assert [site.get(lambda _request: reason()).text for _visit in range(2)] == ["pinned"] * 2


@both_stores
@pytest.mark.parametrize("every_request", [False, True])
@pytest.mark.parametrize("slow_changes", [False, True])
def test_a_slower_request_does_not_erase_the_token(
    user, site, backend, store, settings, every_request, slow_changes
):
    """The other tab's request runs, and is answered, while the slow one is under way."""
    settings.SESSION_SAVE_EVERY_REQUEST = every_request
    site.get(lambda request: request.session.update({"a": 1}))
    cookies = SimpleCookie(site.client.cookies.output(header="", sep=";"))
    request = RequestFactory().post("/")
    request.COOKIES = {name: cookie.value for name, cookie in cookies.items()}

    def other_tab(request):
        write()
        return HttpResponse()

    def slow(slow_request):
        slow_request.session.get("a")
        if slow_changes:
            slow_request.session["visits"] = 1
        with Isolation():
            answer = SessionMiddleware(ReadWriteMiddleware(other_tab))(request)
        answers.append(answer)

    answers = []
    site.get(slow)
    for name, cookie in answers[0].cookies.items():
        if name == "rwrouter":
            site.client.cookies[name] = cookie.value
    assert site.get(lambda _request: reason()).text == "pinned"
    assert site.get(lambda request: request.session.get("visits")).text == ("1" if slow_changes else "None")


@pytest.mark.parametrize("looked", [False, True], ids=["", "the token was looked at"])
@pytest.mark.parametrize("throw_away", ["flush", "cycle_key", "aflush", "acycle_key"])
@both_stores
def test_a_request_with_a_session_that_has_just_ended_is_pinned(
    user, site, backend, store, throw_away, looked
):
    """It was sent before the response to the one that ended the session had arrived, and is answered last."""
    answers = []

    def end(request):
        if looked:
            current_token()
        ending = getattr(request.session, throw_away)
        (async_to_sync(ending) if throw_away.startswith("a") else ending)()
        late = RequestFactory().get("/")
        late.COOKIES = dict(request.COOKIES)
        for _visit in range(2):
            with Isolation():
                handler = SessionMiddleware(ReadWriteMiddleware(lambda _request: HttpResponse(reason())))
                answers.append(handler(late))

    site.post(log_in)
    site.post(write)
    site.post(end)
    assert [answer.text for answer in answers] == ["pinned", "pinned"]
    for name, cookie in answers[-1].cookies.items():
        site.client.cookies[name] = cookie.value
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize("backend", ["db"], indirect=True)
@session_store
def test_what_is_left_of_a_session_is_its_living_tokens(user, site, backend, store, settings):
    def basket(request):
        request.session["basket"] = "full"

    site.post(basket)
    site.post(write)
    site.post(lambda request: request.session.flush())
    [left] = Session.objects.all()
    assert set(left.get_decoded()) == {"_rwrouter", "_session_expiry"}
    Session.objects.all().delete()
    site.post(basket)
    site.post(write)
    settings.RWROUTER = {**settings.RWROUTER, "PIN_SECONDS": 0.000001}
    site.post(lambda request: request.session.flush())
    assert not Session.objects.exists()


@session_store
def test_a_session_engine_that_fails_does_not_stop_a_logout(user, site, store, monkeypatch):
    site.post(log_in)
    site.post(write)
    engine = import_string(f"{site.settings.SESSION_ENGINE}.SessionStore")

    def fail(*_args, **_more):
        raise OSError("away")

    monkeypatch.setattr(engine, "save", fail)
    assert site.post(logout).status_code == 200
    assert not Session.objects.exists()
    assert site.get(who).text == " pinned"


@session_store
def test_keeping_the_token_does_not_bring_back_an_older_session(user, site, store):
    """Another tab puts something into the session while the view writes."""

    def view(request):
        request.session.get("a")
        other = type(request.session)(request.session.session_key)
        other["basket"] = "full"
        other.save()
        write()

    site.get(lambda request: request.session.update({"a": 1}))
    site.post(view)
    assert site.get(lambda request: f"{request.session.get('basket')} {reason()}").text == "full pinned"


@session_store
def test_a_session_that_another_tab_deleted_is_no_error(user, site, store):
    def view(request):
        request.session.get("a")
        type(request.session)(request.session.session_key).delete()
        write()

    site.get(lambda request: request.session.update({"a": 1}))
    assert site.post(view).status_code == 200
    assert site.get(lambda _request: reason()).text == "pinned"


@both_stores
def test_a_request_that_saves_a_deleted_session_leaves_the_token(user, site, backend, store):
    """Django answers 400, and the response with the token is lost."""

    def view(request):
        request.session["a"] = 2
        type(request.session)(request.session.session_key).delete()
        write()

    site.get(lambda request: request.session.update({"a": 1}))
    assert site.post(view).status_code == (200 if backend == "signed_cookies" else 400)
    assert site.get(lambda _request: reason()).text == "pinned"


REPLACEMENTS = {
    "a dict": lambda request: setattr(request, "session", {}),
    "nothing": lambda request: setattr(request, "session", None),
    "taken away": lambda request: delattr(request, "session"),
    "another": lambda request: setattr(request, "session", type(request.session)()),
}


def replace_session(get_response):
    def handle(request):
        if "Replace" in request.headers:
            REPLACEMENTS[request.headers["Replace"]](request)
        return get_response(request)

    return handle


@pytest.mark.parametrize("saved", [False, True], ids=["", "saved always"])
@pytest.mark.parametrize("has_session", [False, True])
@pytest.mark.parametrize("replace", REPLACEMENTS)
@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
@pytest.mark.parametrize("backend", ["db", "signed_cookies"], indirect=True)
@session_store
def test_a_session_that_a_middleware_replaces_is_no_error(
    user, site, backend, store, replace, has_session, saved, settings
):
    settings.SESSION_SAVE_EVERY_REQUEST = saved
    settings.MIDDLEWARE = [*AFTER_SESSIONS[:2], f"{__name__}.replace_session"]
    if has_session:
        site.get(lambda request: request.session.update({"a": 1}))
    assert site.post(write, replace=replace).status_code == 200
    assert site.get(lambda _request: reason(), replace=replace).text == "pinned"
    assert site.get(lambda _request: reason()).text == "pinned"


def session_of_a_signed_cookie(get_response):
    def handle(request):
        request.session = request.session.__class__(Signer().unsign(request.COOKIES["sessionid"]))
        return get_response(request)

    return handle


@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
@pytest.mark.parametrize("backend", ["db", "cache"], indirect=True)
@session_store
def test_a_cookie_that_is_not_the_sessions_key(user, site, backend, store, settings):
    settings.MIDDLEWARE = [AFTER_SESSIONS[0], f"{__name__}.session_of_a_signed_cookie", AFTER_SESSIONS[1]]
    session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")()
    session["a"] = 1
    session.save()
    site.client.cookies["sessionid"] = Signer().sign(session.session_key)
    before = Session.objects.count()
    site.post(write)
    assert site.get(lambda _request: reason()).text == "pinned"
    assert Session.objects.count() == before


@pytest.mark.parametrize("backend", ["db", "cache"], indirect=True)
@session_store
def test_a_session_engine_that_fails_costs_no_write_its_answer(user, site, backend, store, monkeypatch):
    site.get(lambda request: request.session.update({"a": 1}))
    engine = import_string(f"{site.settings.SESSION_ENGINE}.SessionStore")

    def fail(*_args, **_more):
        raise OSError("away")

    monkeypatch.setattr(engine, "save", fail)
    assert site.post(write).status_code == 200
    monkeypatch.undo()
    assert site.get(lambda _request: reason()).text == "pinned"


@both_stores
def test_a_500_does_not_save_what_the_view_left_in_the_session(user, site, backend, store):
    def view(request):
        request.session["half"] = "done"
        write()
        raise ZeroDivisionError

    site.post(log_in)
    site.client.raise_request_exception = False
    site.post(view)
    assert site.get(lambda request: "half" in request.session).text == "False"


@both_stores
def test_an_expired_token_lies_in_the_session_and_harms_nobody(site, backend, store, settings):
    site.post(write)
    settings.RWROUTER = {**settings.RWROUTER, "PIN_SECONDS": 0.000001}
    for _visit in range(3):
        assert site.get(lambda _request: reason()).text == "window"


@session_store
@pytest.mark.parametrize("value", ["text", 1, None, ["x"], "x" * 5000], ids=repr)
def test_something_else_in_its_place_in_the_session_pins_nobody(site, store, value):
    from django_rwrouter.stores.session import KEY

    def view(request):
        request.session[KEY] = value

    site.get(view)
    assert site.get(lambda _request: reason()).text == "window"


# --- how it is kept ------------------------------------------------------------------------------------


@session_store
@pytest.mark.parametrize(
    "serializer",
    ["django.core.signing.JSONSerializer", "django.contrib.sessions.serializers.JSONSerializer"],
)
def test_the_token_is_a_string_that_every_serializer_takes(site, store, settings, serializer):
    settings.SESSION_SERIALIZER = serializer
    site.post(write)
    session = Session.objects.get().get_decoded()
    assert [type(value) for value in session.values()] == [str]


@session_store
def test_a_page_that_only_reads_does_not_save_the_session(user, site, store):
    site.post(log_in)
    site.post(write)
    with capture_routing() as decisions:
        response = site.get(lambda request: f"{reason()} {request.session.modified}")
    assert response.text == "pinned False"
    assert not response.cookies
    assert {decision.operation for decision in decisions} == {"read"}


@session_store
def test_looking_for_the_token_does_not_make_pages_depend_on_the_cookie(user, site, store):
    site.post(log_in)
    response = site.get(lambda _request: reason())
    assert response.text == "pinned"
    assert not response.has_header("Vary")


@session_store
def test_a_visitor_without_a_session_gets_none_by_reading(site, store, django_assert_num_queries):
    with django_assert_num_queries(0):  # on the primary
        site.get(lambda _request: Book.objects.count())
    assert not site.client.cookies
    assert Session.objects.count() == 0


@session_store
def test_a_request_that_reads_nothing_does_not_load_the_session(user, site, store):
    site.post(log_in)
    with capture_routing() as decisions:
        site.get(lambda _request: "static")
    assert decisions == []


@pytest.mark.parametrize("store", ["both"], indirect=True)
@pytest.mark.parametrize("lost", ["rwrouter", "sessionid"])
def test_with_two_stores_either_is_enough(site, store, lost):
    site.post(write)
    assert set(site.client.cookies) == {"rwrouter", "sessionid"}
    del site.client.cookies[lost]
    assert site.get(lambda _request: reason()).text == "pinned"


@session_store
def test_without_a_session_it_says_where_it_belongs(site, store, settings):
    settings.MIDDLEWARE = [AFTER_SESSIONS[1]]
    with pytest.raises(ImproperlyConfigured, match="right after 'django"):
        site.get(lambda _request: reason())


# --- on the event loop ---------------------------------------------------------------------------------


@both_stores
def test_an_async_view_may_take_and_restore_tokens(user, site, store):
    site.post(log_in)

    async def take(_request):
        await Book.objects.acreate(title="new")
        return HttpResponse(current_token())

    value = site.get(take).text
    site.forget()

    async def restore(_request):
        restore_token(value)
        return HttpResponse(await sync_to_async(reason)())

    assert site.get(restore).text == "pinned"
    site.post(log_in)
    site.client.cookies.pop("rwrouter", None)
    assert site.get(restore).text == "pinned"


@session_store
def test_an_async_view_reads_its_own_writes(user, site, store):
    async def view(_request):
        await Tag.objects.acreate(name="x")
        return await Tag.objects.acount()

    site.post(log_in)
    assert site.get(view).text == "1"
    assert site.get(lambda _request: Tag.objects.count()).text == "1"


@pytest.mark.parametrize("kept_in", ["session", "cache"])
@pytest.mark.parametrize("is_async", [True, False], ids=["async view", "sync view"])
@pytest.mark.parametrize("site", ["asgi"], indirect=True)
@pytest.mark.parametrize("backend", ["db", "cache"], indirect=True)
def test_a_client_that_goes_before_it_is_answered_finds_what_it_wrote(
    user, site, settings, kept_in, is_async, backend
):
    """Django cancels a view when the connection is closed; the browser may load the page again."""
    settings.RWROUTER = {**settings.RWROUTER, "STORE": kept_in}
    settings.MIDDLEWARE = AFTER_SESSIONS if kept_in == "session" else [*reversed(AFTER_SESSIONS[:2])]
    caches["default"].clear()
    site.get(lambda request: request.session.update({"a": 1}))
    wrote, goes_on = threading.Event(), threading.Event()

    async def aview(_request):
        await Book.objects.acreate(title="new")
        wrote.set()
        await asyncio.sleep(60)

    def view(_request):
        wrote.set()
        goes_on.wait()  # A thread is not cancelled.
        Book.objects.create(title="new")
        return HttpResponse()

    async def main():
        visit = asyncio.create_task(site.client.post("/"))
        while not wrote.is_set():  # noqa: ASYNC110  (a thread sets it)
            await asyncio.sleep(0.001)
        visit.cancel()
        await asyncio.sleep(0)
        goes_on.set()
        with contextlib.suppress(asyncio.CancelledError):
            await visit

    settings.ROOT_URLCONF = (path("", aview if is_async else view),)
    async_to_sync(main)()
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize("site", ["asgi"], indirect=True)
@pytest.mark.parametrize("backend", ["db"], indirect=True)
@pytest.mark.parametrize("fails", [False, True], ids=["kept", "cannot be kept"])
@session_store
def test_one_that_goes_from_a_new_session(user, site, store, backend, fails, settings, monkeypatch):
    """Its next request brings the old session; that nothing can be kept does not hide that it has gone."""
    site.get(lambda request: request.session.update({"a": 1}))
    wrote = threading.Event()

    async def aview(request):
        await request.session.acycle_key()
        await Book.objects.acreate(title="new")
        wrote.set()
        await asyncio.sleep(60)

    async def main():
        visit = asyncio.create_task(site.client.post("/"))
        while not wrote.is_set():  # noqa: ASYNC110  (a thread sets it)
            await asyncio.sleep(0.001)
        if fails:
            monkeypatch.setattr(exchange, "save", "not callable")
        visit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visit

    settings.ROOT_URLCONF = (path("", aview),)
    async_to_sync(main)()
    if not fails:
        assert site.get(lambda _request: reason()).text == "pinned"


# --- sessions that are not Django's ------------------------------------------------------------------------


@session_store
def test_a_session_model_of_its_own_kind(user, site, store, settings):
    """Reading the session asks the router, which wants the token, which is in the session."""
    settings.SESSION_ENGINE = "tests.app.device_sessions"
    settings.RWROUTER = {**settings.RWROUTER, "PRIMARY_ONLY": []}
    site.post(log_in)
    assert site.get(who).text == "ann pinned"


@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
@pytest.mark.parametrize("backend", ["db", "cache"], indirect=True)
@pytest.mark.parametrize("lazy", [False, True])
@session_store
def test_a_request_is_gone_without_the_garbage_collector(site, settings, backend, store, lazy):
    """Django makes a cycle of ``request.user``, so that middleware is left out."""
    settings.MIDDLEWARE = [
        f"{__name__}.{'lazy_sessions' if lazy else 'SessionMiddleware'}",
        AFTER_SESSIONS[1],
    ]
    requests = []

    def view(request):
        requests.append(weakref.ref(request))
        assert request.session["basket"] == "full"
        return reason()

    def write_and_flush(request):
        view(request)
        write()
        request.session.flush()

    site.post(lambda request: request.session.update({"basket": "full"}))
    environ = RequestFactory().get("/", headers={"Cookie": site.client.cookies.output(header="")}).environ
    handler = WSGIHandler()
    gc.disable()
    try:
        for answer in (view, write_and_flush):
            site.serve(answer)
            handler(dict(environ), lambda *_arguments: None).close()
        assert [request() for request in requests] == [None, None]
    finally:
        gc.enable()


def lazy_sessions(get_response):
    """Have sessions made when they are used first, as some projects do."""
    middleware = SessionMiddleware(get_response)

    def handle(request):
        key = request.COOKIES.get("sessionid")
        request.session = SimpleLazyObject(lambda: middleware.SessionStore(key))
        return middleware.process_response(request, get_response(request))

    return handle


def test_rejected_tokens_are_counted_once_for_each_request_that_brings_one(site):
    site.client.cookies["rwrouter"] = "x:y:z"
    site.get(lambda _request: reason() + reason())
    assert events()["token_rejected", "forged"] == 1
