"""What a client carries: signed, bounded, merged highest-wins; nothing that a stranger sends does harm."""

import base64
import json

import pytest
from django.core import signing
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from django_rwrouter.conf.options import Lifetime
from django_rwrouter.scope import token as module
from django_rwrouter.scope.token import EMPTY, MAX_LENGTH, SALT, FirstSights, Mark, Token, decode

NOW = 1_700_000_000.0
LIFETIMES = {"shop": Lifetime(5.0, 600.0), "blog": Lifetime(60.0, 600.0), "käse": Lifetime(1e9, 1e9)}

times = st.floats(min_value=0, max_value=2 * NOW)
tokens = st.dictionaries(st.sampled_from(list(LIFETIMES)), times.map(Mark)).map(Token)


def signed(payload, *, salt=SALT, key=None):
    return signing.Signer(key=key, salt=salt).sign_object(payload)


def at(seconds_ago, cluster="shop"):
    return Token({cluster: Mark(NOW - seconds_ago)})


# --- round trip ------------------------------------------------------------------------------------


@given(tokens)
def test_a_token_comes_back_as_it_was_within_a_microsecond(token):
    forever = dict.fromkeys(LIFETIMES, Lifetime(1e12, 1e12))
    found, flaw = decode(token.encode(), forever, now=3 * NOW)
    if not token:
        assert (token.encode(), found, flaw) == ("", EMPTY, "forged")
        return
    assert flaw is None
    assert found.marks.keys() == token.marks.keys()
    for name, mark in token.marks.items():
        assert found.marks[name].wrote_at == pytest.approx(mark.wrote_at, abs=1e-6)


def test_a_token_fits_into_a_cookie():
    assert len(at(0).encode()) < 200
    assert at(0).encode().isascii()
    assert not set(at(0).encode()) & set(' ",;\\')


@pytest.mark.parametrize(
    ("seconds_ago", "lives"),
    [(0, True), (4.999, True), (5, False), (1e9, False), (-1, True), (-1e9, True)],
)
def test_a_mark_lives_as_long_as_its_cluster_says(seconds_ago, lives):
    found, flaw = decode(at(seconds_ago).encode(), LIFETIMES, NOW)
    assert (bool(found), flaw) == (lives, None)


def test_a_time_in_the_future_counts_as_now():
    found, _flaw = decode(at(-3600).encode(), LIFETIMES, NOW)
    assert found.marks["shop"].wrote_at == NOW


def test_a_time_in_the_future_counts_as_when_the_token_was_first_seen():
    value = at(-3600).encode()
    sights = FirstSights()
    assert sights.when(value, NOW - 3, ahead=True) == NOW - 3
    found, _flaw = decode(value, LIFETIMES, NOW, first_seen=sights)
    assert found.marks["shop"].wrote_at == NOW - 3


def test_only_what_is_alive_and_ours_comes_back():
    everything = Token({"shop": Mark(NOW - 30), "blog": Mark(NOW - 30), "gone": Mark(NOW)})
    found, flaw = decode(everything.encode(), LIFETIMES, NOW)
    assert (list(found.marks), flaw) == (["blog"], None)


# --- merging ---------------------------------------------------------------------------------------


@given(tokens, tokens)
def test_merging_is_commutative(one, other):
    assert one.merge(other).marks == other.merge(one).marks


@given(tokens, tokens, tokens)
def test_merging_is_associative(one, other, third):
    assert one.merge(other).merge(third).marks == one.merge(other.merge(third)).marks


@given(tokens)
def test_merging_is_idempotent(token):
    assert token.merge(token).marks == token.marks
    assert token.merge(EMPTY).marks == EMPTY.merge(token).marks == token.marks


@given(tokens, tokens)
def test_merging_keeps_the_newest_write_of_each_cluster(one, other):
    merged = one.merge(other)
    for name in LIFETIMES:
        newest = max(token.marks.get(name, Mark()).wrote_at for token in (one, other))
        assert merged.marks.get(name, Mark()).wrote_at == newest


# --- what strangers send ---------------------------------------------------------------------------

GOOD = at(1).encode()
COMPRESSED = signing.Signer(salt=SALT).sign_object([1, {"shop": ["x" * 100_000]}], compress=True)
BAD = {
    "empty": ("", "forged"),
    "text": ("hello", "forged"),
    "no signature": (GOOD.rpartition(":")[0], "forged"),
    "truncated": (GOOD[:-1], "forged"),
    "without its beginning": (GOOD[1:], "forged"),
    "another's signature": (signed([1, {"shop": [NOW]}], key="another secret"), "forged"),
    "another purpose": (signed([1, {"shop": [NOW]}], salt="django.core.signing"), "forged"),
    "changed payload": (f"WzEse31d:{GOOD.rpartition(':')[2]}", "forged"),
    "oversized": ("x" * (MAX_LENGTH + 1), "oversized"),
    "oversized, though signed": (signed([1, {"x" * MAX_LENGTH: [NOW]}]), "oversized"),
    "lone surrogate": ("\ud800:\ud800", "malformed"),
    "not even a string in ASCII": ("käse:käse", "forged"),
    "null bytes": ("\0:\0", "forged"),
    "a list of nothing": (signed([]), "malformed"),
    "a number": (signed(1), "malformed"),
    "null": (signed(None), "malformed"),
    "another version": (signed([2, {"shop": [NOW]}]), "malformed"),
    "no times": (signed([1, {"shop": []}]), "malformed"),
    "a word for a time": (signed([1, {"shop": ["now"]}]), "malformed"),
    "null for a time": (signed([1, {"shop": [None]}]), "malformed"),
    "not a number": (signed([1, {"shop": [float("nan")]}]), "malformed"),
    "infinity": (signed([1, {"shop": [float("inf")]}]), "malformed"),
    "a huge number": (signed([1, {"shop": [10**400]}]), "malformed"),
    "no marks": (signed([1, {}]), "foreign"),
    "a cluster that is gone": (signed([1, {"gone": [NOW]}]), "foreign"),
    "before all time": (signed([1, {"shop": [-1e300]}]), None),
    "a bomb": (COMPRESSED, "malformed"),
}


@pytest.mark.parametrize(("value", "flaw"), BAD.values(), ids=BAD)
def test_a_bad_value_is_as_none_at_all_and_says_why(value, flaw):
    assert decode(value, LIFETIMES, NOW) == (EMPTY, flaw)


def test_a_newer_version_may_put_more_behind_the_time():
    found, flaw = decode(signed([1, {"shop": [NOW, "0-1-17"]}]), LIFETIMES, NOW)
    assert (found.marks, flaw) == ({"shop": Mark(NOW, blind_at=NOW)}, None)


def test_a_key_that_was_replaced_is_still_accepted(settings):
    value = at(1).encode()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    assert decode(value, LIFETIMES, NOW)[1] is None
    settings.SECRET_KEY_FALLBACKS = []
    assert decode(value, LIFETIMES, NOW)[1] == "forged"


@pytest.fixture
def verified(monkeypatch):
    """Return the values whose signature was checked."""
    values = []

    def unsign_object(self, value, unsign=signing.Signer.unsign_object):
        values.append(value)
        return unsign(self, value)

    monkeypatch.setattr(signing.Signer, "unsign_object", unsign_object)
    module._verified.cache_clear()
    yield values
    module._verified.cache_clear()


def test_a_good_token_is_verified_once_and_its_age_judged_each_time(verified):
    value = at(0).encode()
    found = [bool(decode(value, LIFETIMES, NOW + seconds)[0]) for seconds in (0, 4.9, 5.1)]
    assert (found, verified) == ([True, True, False], [value])


def test_a_bad_token_is_not_remembered(verified):
    value = at(0).encode()[:-1] + "_"
    for _ in range(2):
        assert decode(value, LIFETIMES, NOW) == (EMPTY, "forged")
    assert (verified, module._verified.cache_info().currsize) == ([value, value], 0)


def test_a_token_that_was_verified_is_forged_once_its_key_is_withdrawn(settings, verified):
    value = at(0).encode()
    assert decode(value, LIFETIMES, NOW)[1] is None
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    assert decode(value, LIFETIMES, NOW)[1] is None
    settings.SECRET_KEY_FALLBACKS = []
    assert decode(value, LIFETIMES, NOW) == (EMPTY, "forged")
    assert verified == [value] * 3


cookies = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("latin-1")),
    st.integers(0, len(GOOD) - 1).map(lambda end: GOOD[:end]),
    st.tuples(st.integers(0, len(GOOD) - 1), st.characters()).map(
        lambda change: GOOD[: change[0]] + change[1] + GOOD[change[0] + 1 :]
    ),
    st.tuples(st.binary(), st.text()).map(
        lambda parts: base64.urlsafe_b64encode(parts[0]).decode() + ":" + parts[1]
    ),
)


@settings(max_examples=2_000)
@given(cookies)
def test_random_truncated_and_forged_values_raise_nothing_and_pin_nobody(value):
    assume(value != GOOD)
    found, flaw = decode(value, LIFETIMES, NOW)
    assert not found
    assert flaw is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)
payloads = st.one_of(
    json_values,
    st.tuples(st.just(1), json_values).map(list),
    st.dictionaries(st.sampled_from(["shop", "blog", "x"]), json_values).map(lambda marks: [1, marks]),
)


@given(payloads)
def test_whatever_was_signed_by_another_program_with_our_key_raises_nothing(payload):
    assume(len(json.dumps(payload)) < MAX_LENGTH)
    found, flaw = decode(signed(payload), LIFETIMES, NOW)
    assert flaw is None or not found
    assert all(mark.wrote_at <= NOW for mark in found.marks.values())


# --- writes whose position is not known ---------------------------------------------------------

LIVES = Lifetime(pin=5.0, position=600.0)


class At(int):
    def covers(self, other):
        return self >= other

    def merge(self, other):
        return max(self, other)


def read_number(text):
    return At(int(text))


@pytest.mark.parametrize(
    ("mark", "seconds"),
    [
        (Mark(NOW), LIVES.pin),
        (Mark(NOW, blind_at=NOW), LIVES.position),
        (Mark(NOW, At(5)), LIVES.position),
        (Mark(NOW, At(5), NOW - 10), LIVES.position),
    ],
    ids=["no position was asked for", "in vain", "a position", "for one of two writes"],
)
def test_a_mark_lives_as_long_as_something_may_need_it(mark, seconds):
    assert mark.lifetime(LIVES) == seconds
    assert mark.alive(LIVES, NOW + seconds - 0.1) is not None
    assert mark.alive(LIVES, NOW + seconds) is None


def test_a_write_that_is_too_long_ago_asks_for_nothing_though_newer_ones_do():
    mark = Mark(NOW, At(5), NOW - 599)
    assert mark.alive(LIVES, NOW).blind_at == NOW - 599
    assert mark.alive(LIVES, NOW + 1) == Mark(NOW, At(5))


@pytest.mark.parametrize(
    ("one", "other", "uncovered_at"),
    [
        (Mark(NOW - 9), Mark(NOW, At(5)), NOW - 9),
        (Mark(NOW - 9, blind_at=NOW - 9), Mark(NOW, At(5)), NOW - 9),
        (Mark(NOW), Mark(NOW - 9, At(5)), NOW),
        (Mark(NOW), Mark(NOW - 9, blind_at=NOW - 9), NOW - 9),
        (Mark(NOW - 9, At(4)), Mark(NOW, At(5)), 0.0),
    ],
    ids=["window first", "blind first", "window last", "both without", "both with"],
)
def test_no_position_covers_what_was_written_without_one(one, other, uncovered_at):
    assert one.merge(other).blind_at == other.merge(one).blind_at
    if one.merge(other).position is not None:
        assert one.merge(other).uncovered_at == uncovered_at
    else:
        assert one.merge(other).blind_at == uncovered_at


@pytest.mark.parametrize("reader", [None, int], ids=["no reader", "a kind of position that it does not know"])
def test_a_position_that_cannot_be_read_leaves_a_write_without_one(reader):
    value = Token({"shop": Mark(NOW, At(5))}).encode(lambda position: "unknown")
    assert decode(value, LIFETIMES, NOW, reader)[0].marks == {"shop": Mark(NOW, blind_at=NOW)}


def test_a_position_that_is_too_long_leaves_a_write_without_one():
    value = Token({"shop": Mark(NOW, At(5))}).encode(lambda position: "5" * MAX_LENGTH)
    assert decode(value, LIFETIMES, NOW, read_number)[0].marks == {"shop": Mark(NOW, blind_at=NOW)}


def test_what_the_mark_says_comes_back():
    for mark in (Mark(NOW, blind_at=NOW), Mark(NOW, At(5), NOW - 1), Mark(0.0, At(5), 0.0, NOW)):
        value = Token({"shop": mark}).encode(str)
        assert decode(value, LIFETIMES, NOW, read_number)[0].marks == {"shop": mark}


def test_a_transaction_that_was_open_may_commit_within_the_pin_and_no_clock_says_more():
    for ahead in (LIFETIMES["shop"].pin, 3600):
        value = Token({"shop": Mark(NOW, blind_at=NOW + ahead)}).encode()
        assert decode(value, LIFETIMES, NOW)[0].marks["shop"].blind_at == NOW + LIFETIMES["shop"].pin
