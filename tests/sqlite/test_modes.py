"""Rolling out and back: shadow, the kill switch, opt-in, and no configuration at all."""

import random
from collections import Counter

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, router, transaction
from django.test.utils import CaptureQueriesContext

from django_rwrouter import (
    NoReplicaAvailable,
    consistency,
    current_token,
    mark_written,
    read_connection,
    restore_token,
    routing_scope,
    untracked_writes,
    use_primary,
    use_replica,
)
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.testing import capture_routing
from tests.app.models import AuditRow, Book, Tag
from tests.sqlite.conftest import REPLICAS, ask, reason, replicate


def write(_request=None):
    Book.objects.create(title="new")


def titles(_request=None):
    return ",".join(Book.objects.values_list("title", flat=True))


@pytest.fixture
def setting(databases, settings):
    def change(**changes):
        settings.RWROUTER = {**settings.RWROUTER, **changes}

    return change


# --- shadow ------------------------------------------------------------------------------------------


def test_shadow_reads_the_primary_and_says_where_the_read_would_have_gone(site, setting):
    setting(ENABLED="shadow")

    def view(_request):
        decision = ask()
        return decision.alias, decision.reason.value, decision.would_be in REPLICAS

    assert site.get(view).text == "('default', 'window', True)"


def test_under_shadow_nobody_sees_anything_stale(site, setting):
    setting(ENABLED="shadow", CONSISTENCY="eventual")
    write()
    assert site.get(titles).text == "new"
    assert site.get(use_replica()(titles)).text == "new"


def test_shadow_opens_no_replica(site, setting, servers):
    setting(ENABLED="shadow")
    servers.kill()
    assert site.get(lambda _request: reason()).text == "window"


def test_shadow_keeps_one_would_be_replica_for_a_request(site, setting):
    setting(ENABLED="shadow")
    for _visit in range(8):
        assert site.get(lambda _request: len({ask().would_be for _read in range(8)})).text == "1"


def test_under_shadow_pins_and_transactions_count_as_always(site, setting):
    setting(ENABLED="shadow")

    def view(_request):
        decision = ask()
        return decision.reason.value, decision.would_be

    site.post(write)
    assert site.get(view).text == "('pinned', None)"
    assert site.post(view).text == "('unsafe_method', None)"


def test_shadow_decides_as_the_real_thing_would(site, setting):
    """Objects come from the primary there: following them must not count as following the primary."""
    write()
    replicate()

    def view(_request):
        with capture_routing() as decisions:
            list(Book.objects.get().tags.all())
        return [decision.reason.value for decision in decisions]

    real = site.get(view).text
    setting(ENABLED="shadow")
    assert site.get(view).text == real == "['window', 'window']"


def test_strict_blocks_do_not_object_under_shadow(site, setting):
    setting(ENABLED="shadow")
    assert site.get(use_replica(strict=True)(lambda _request: reason())).text == "use_replica"


# --- the kill switch -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [None, use_replica(), use_replica(strict=True), consistency("eventual"), use_primary()],
    ids=["none", "use_replica", "strict", "eventual", "use_primary"],
)
def test_the_kill_switch_sends_everything_to_the_primary(site, setting, block):
    setting(ENABLED=False)
    view = titles if block is None else block(titles)
    write()
    assert site.get(view).text == "new"
    why = (lambda _request: reason()) if block is None else block(lambda _request: reason())
    assert site.get(why).text == "disabled"


def test_who_wrote_while_it_was_thrown_is_pinned_once_it_is_not(site, setting):
    setting(ENABLED=False)
    site.post(write)
    setting(ENABLED=True)
    assert site.get(titles).text == "new"


def test_it_covers_reads_outside_any_scope_and_raw_connections(setting):
    setting(ENABLED=False, OUTSIDE_REQUEST="replica")
    assert reason() == "disabled"
    with use_replica():
        assert read_connection().alias == "default"


def test_migrations_stay_off_replicas_while_it_is_thrown(setting):
    setting(ENABLED=False)
    assert [router.allow_migrate(alias, "app") for alias in ("default", *REPLICAS)] == [True, False, False]


# --- strict --------------------------------------------------------------------------------------------


WITHOUT_REPLICAS = {
    "REPLICAS": [],
    "CLUSTERS": {"default": {}, "another": {"PRIMARY": "other", "MODELS": ["auth"]}},
}
STRICT = {
    "no replica": (use_replica, WITHOUT_REPLICAS, None),
    "the level": (lambda strict: consistency("primary", strict=strict), {}, None),
    "the token": (lambda strict: consistency("window", strict=strict), {}, "token"),
    "a write": (lambda strict: consistency("eventual", strict=strict), {}, "write"),
    "a transaction": (use_replica, {}, "atomic"),
}


@pytest.mark.parametrize(("block", "change", "what"), STRICT.values(), ids=STRICT)
@pytest.mark.parametrize("strict", [True, False])
def test_strict_raises_where_the_primary_would_be_read(databases, setting, block, change, what, strict):
    setting(**change)
    with routing_scope(safe=True):
        if what == "write":
            write()
        elif what == "token":
            with routing_scope():
                write()
                token = current_token()
            restore_token(token)
        with block(strict=strict):
            if what == "atomic":
                with transaction.atomic():
                    read(strict)
            else:
                read(strict)


def read(strict):
    if not strict:
        assert ask().alias == "default"
        return
    with pytest.raises(NoReplicaAvailable, match="strict=True"):
        Book.objects.count()
    with pytest.raises(NoReplicaAvailable):
        read_connection()


def test_strict_does_not_object_where_the_primary_is_always_read(databases, setting):
    setting(PRIMARY_ONLY=["app.Tag"])
    with routing_scope(safe=True), use_replica(strict=True):
        assert reason(Tag) == "primary_only"
        with use_primary():
            assert reason() == "use_primary"
        write()


def test_strict_finds_a_replica_where_there_is_one(databases):
    with routing_scope(safe=True), use_replica(strict=True):
        assert reason() == "use_replica"


def test_nothing_but_strict_ever_raises_it(databases, servers):
    servers.kill()
    with routing_scope(safe=True), use_replica(), consistency("eventual"):
        assert reason() == "no_replica"


# --- who draws -------------------------------------------------------------------------------------------


def test_weights_are_honoured_end_to_end(site, setting):
    setting(REPLICAS={"replica1": {"WEIGHT": 3}, "replica2": {"WEIGHT": 1}}, REPLICA_PER="query")
    random.seed(4)
    drawn = Counter()
    site.get(lambda _request: drawn.update(router.db_for_read(Book) for _read in range(4000)))
    assert drawn["replica1"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_each_request_draws_anew(site):
    drawn = {site.get(lambda _request: ask().alias).text for _visit in range(30)}
    assert drawn == set(REPLICAS)


def test_a_balancer_of_the_projects_own(site, setting):
    setting(BALANCER="tests.sqlite.test_modes.Last")
    assert {site.get(lambda _request: ask().alias).text for _visit in range(8)} == {"replica2"}


class Last:
    def choose(self, replicas):
        return replicas[-1]


@pytest.mark.parametrize("chosen", [None, "replica1", ReplicaSettings(alias="default")], ids=str)
def test_a_balancer_that_chooses_none_of_those_that_may_answer_is_named(site, setting, monkeypatch, chosen):
    monkeypatch.setattr(Last, "choose", lambda self, replicas: chosen)
    setting(BALANCER="tests.sqlite.test_modes.Last")
    with pytest.raises(
        ImproperlyConfigured, match=r"'BALANCER'\] is 'tests.sqlite.test_modes.Last'.*choose\(\)"
    ):
        site.get(lambda _request: ask().alias)


# --- nothing configured ------------------------------------------------------------------------------------


@pytest.fixture(params=["empty", "no replicas"])
def inert(request, settings):
    settings.RWROUTER = {} if request.param == "empty" else {"REPLICAS": [], "PIN_SECONDS": 9}


def visit_everything(site):
    """Answers and queries of some visits: reads, writes, a session, an error."""

    def session(request):
        request.session["a"] = request.session.get("a", 0) + 1
        return request.session["a"]

    def failing(_request):
        write()
        raise ZeroDivisionError

    site.client.raise_request_exception = False
    seen = []
    with CaptureQueriesContext(connection) as queries:
        for method, view in [
            ("GET", titles),
            ("POST", write),
            ("GET", titles),
            ("GET", session),
            ("POST", failing),
            ("GET", use_replica()(titles)),
            ("GET", consistency("eventual")(titles)),
        ]:
            response = site.visit(method, view)
            cookies = {
                name: cookie.OutputString()
                for name, cookie in response.cookies.items()
                if name != "sessionid"
            }
            seen.append(
                (
                    response.status_code,
                    response.text if response.status_code == 200 else "",
                    dict(response.headers),
                    cookies,
                )
            )
    statements = [query["sql"].partition("'")[0] for query in queries]
    Book.objects.all().delete()
    return seen, statements


def test_without_replicas_everything_is_as_without_this_package(site, inert, settings):
    with_us = visit_everything(site)
    site.forget()
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "rwrouter" not in name]
    settings.DATABASE_ROUTERS = []
    assert with_us == visit_everything(site)
    assert with_us[1]


def test_the_api_works_without_replicas_too(site, inert):
    def view(_request):
        with use_primary(), use_replica(strict=True), consistency("window"), untracked_writes():
            write()
            mark_written()
        with routing_scope(safe=True, token="x"):
            restore_token(current_token())
        restore_token("")
        return titles(), read_connection().alias, current_token()

    assert site.get(view).text == "('new', 'default', '')"


def test_without_replicas_nothing_is_ours(databases, inert):
    assert router.db_for_read(AuditRow) == "default"
    assert [router.allow_migrate(alias, "app") for alias in ("default", "replica1", "other")] == [True] * 3
    with capture_routing() as decisions:
        Book.objects.count()
    assert decisions == []
