"""Why a server was left alone: told in English, shown in the language of whoever looks."""

import pytest
from django.db import OperationalError
from django.utils import translation

from django_rwrouter.events import causes
from django_rwrouter.events.emit import why
from django_rwrouter.monitor.slowness import Slow


@pytest.mark.parametrize(
    ("cause", "korean"),
    [
        (causes.TIMEOUT, "시간 초과"),
        (causes.NO_ANSWER, "응답 없음"),
        (causes.NO_ANSWER_WITHIN % {"seconds": f"{0.5:g}"}, "0.5초 안에 응답 없음"),
        (causes.NOT_IN_RECOVERY, "복구 모드가 아님"),
        (str(Slow(0.42, 0.012)), "느림: 420ms, 다른 레플리카는 12ms"),
        ("8.0 s", "8.0초"),
        # What only another driver says, and versions beside this one.
        ("OperationalError 99999", "OperationalError 99999"),
        ("slow: very", "slow: very"),
        ("timeout (2013)", "timeout (2013)"),
        ("", ""),
    ],
)
def test_translated(cause, korean):
    assert causes.sentence(cause) == cause
    with translation.override("ko"):
        assert causes.sentence(cause) == korean


@pytest.mark.parametrize(
    ("cause", "english", "korean"),
    [
        (
            "OperationalError 2002",
            "refused the connection, or could not be reached (2002)",
            "연결을 거부했거나 연결할 수 없음 (2002)",
        ),
        ("OperationalError 57P01", "is shutting down (57P01)", "종료하는 중 (57P01)"),
        (
            "OperationalError",
            "could not be reached, or lost the connection (OperationalError)",
            "연결할 수 없거나 연결이 끊어짐 (OperationalError)",
        ),
    ],
)
def test_the_codes_of_drivers_are_sentences(cause, english, korean):
    assert causes.sentence(cause) == english
    with translation.override("ko"):
        assert causes.sentence(cause) == korean


def test_an_error_is_told_by_its_type_and_code():
    refused = OperationalError("the text names db.internal")
    refused.__cause__ = Exception()
    refused.__cause__.sqlstate = "57P03"
    assert why(refused) == "OperationalError 57P03"
    assert why(OperationalError(2002, "db.internal")) == "OperationalError 2002"
    assert why(OperationalError("db.internal")) == "OperationalError"
