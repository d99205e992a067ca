"""The panel in Korean: nothing of it is left in English."""

import pytest
from django.utils import translation

from django_rwrouter.decision import Reason
from django_rwrouter.events.causes import TIMEOUT
from django_rwrouter.monitor.slowness import Slow
from django_rwrouter.operations import overrides
from django_rwrouter.servers.health import health
from tests.sqlite.panel.conftest import NOW, PAGES, read, record
from tests.tooling.test_translations import translations

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

SENTENCES = [
    text.singular
    for text in translations.texts(translations.SITES[0])
    if " " in text.singular and "%" not in text.singular
]


@pytest.fixture
def in_korean(databases):
    record(
        *(read("default", reason.value) for reason in Reason),
        events=[["request", "", 4], ["token_rejected", "forged", 1], ["read_spilled", "default", 1]],
        log=[[NOW, "failover", "replica1", ""], [NOW, "token_rejected", "forged", ""]],
    )
    overrides.drain("replica2", reason="디스크 교체")
    overrides.switch_off("default")
    with translation.override("ko"):
        yield


@pytest.mark.parametrize("path", [*PAGES, "explain/?model=app.Book&method=GET", "actions/drain/replica1/"])
def test_nothing_is_left_in_english(show, in_korean, path):
    shown = show(path)
    assert not [text for text in SENTENCES if text in shown.text]
    assert "지금" in shown.text


def test_words_in_korean(show, in_korean):
    shown = show()
    assert "읽기/쓰기 라우팅" in show(whole=True).text
    assert "킬 스위치가 켜져 있어 모든 읽기가 프라이머리로 갑니다." in shown.text
    assert shown.table("클러스터 “default”의 데이터베이스")[2][2].startswith("드레인됨 ")


def test_causes_in_korean(show, in_korean):
    """They are kept in English, as in the log."""
    health.failed("replica1", str(Slow(0.5, 0.02)))
    record(
        log=[
            [NOW - 8, "replica_ejected", "replica1", TIMEOUT],
            [NOW, "replica_restored", "replica1", "8.0 s"],
            [NOW - 2, "primary_lost", "default", TIMEOUT],
            [NOW - 3, "replica_ejected", "replica2", "OperationalError 2013"],
            # What somebody has written is theirs.
            [NOW - 4, "replica_drained", "replica2", TIMEOUT],
        ],
        process="b" * 32,
    )
    shown = show().table("클러스터 “default”의 데이터베이스")[1][2]
    assert shown.endswith("느림: 500ms, 다른 레플리카는 20ms")
    (table,) = show("events/").tables.values()
    details = {(row[1], row[2]): row[3] for row in table}
    assert details["레플리카 격리", "replica1"] == details["프라이머리 응답 없음", "default"] == "시간 초과"
    assert details["레플리카 격리", "replica2"] == "응답을 멈췄거나 연결이 사라짐 (2013)"
    assert details["레플리카 드레인", "replica2"] == TIMEOUT
