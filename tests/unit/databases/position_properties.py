"""What holds for a position of any database, as properties over what it is given to compare."""

import pytest

from django_rwrouter import databases
from django_rwrouter.scope.token import MAX_LENGTH, Mark, Token


class Elsewhere:
    """A position of another kind of database."""

    def covers(self, other):
        return True


def check_order(a, b, c):
    assert a.covers(a)
    if a.covers(b) and b.covers(c):
        assert a.covers(c)
    if a.covers(b) and b.covers(a):
        assert a == b
        assert hash(a) == hash(b)


def check_merge(a, b, c):
    assert a.merge(a) == a
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))


def check_least_upper_bound(a, b, other):
    """Of one history: the merged position stands for both, and for no more than needed."""
    both = a.merge(b)
    assert both.covers(a)
    assert both.covers(b)
    if other.covers(a) and other.covers(b):
        assert other.covers(both)


def check_round_trip(position):
    text = position.encode()
    assert type(position).decode(text) == position
    assert databases.decode(databases.encode(position)) == position
    # Into a cookie, a header and JSON without a detour.
    assert text.isascii()
    assert not set(text) & set(' ";\\\n')


def check_is_refused(decode, text):
    """Garbage is a ``ValueError``, or it means something after all; nothing else ever comes out of it."""
    try:
        found = decode(text)
    except ValueError:
        return
    assert decode(found.encode()) == found


def check_others_are_never_covered(position):
    assert not position.covers(Elsewhere())
    assert not position.covers(None)


def token_length(position):
    """How many bytes a token with this position has, in the cookie."""
    token = Token({"default": Mark(1_700_000_000.123456, position)})
    value = token.encode(databases.encode)
    assert len(value) <= MAX_LENGTH
    return len(value)


NOT_A_POSITION = ["", "m", "y", "p", "x1-1-1", "M0-1-1", "m0-1", "y0-1-1", "p1@0", "\0", "m\n", "é"]


def check_registry_refuses(text):
    with pytest.raises(ValueError, match=r"."):
        databases.decode(text)
