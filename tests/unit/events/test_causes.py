"""Why a server was left alone: told in English, shown in the language of whoever looks."""

import pytest
from django.utils import translation

from django_rwrouter.events import causes
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
        # What drivers say, and versions beside this one.
        ("OperationalError 2013", "OperationalError 2013"),
        ("slow: very", "slow: very"),
        ("timeout (2013)", "timeout (2013)"),
        ("", ""),
    ],
)
def test_translated(cause, korean):
    assert causes.translated(cause) == cause
    with translation.override("ko"):
        assert causes.translated(cause) == korean
