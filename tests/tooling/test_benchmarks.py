"""The parts of the benchmarks that only calculate."""

import itertools
import json
import time
from pathlib import Path

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from benchmarks import report
from benchmarks.contestants import CONTESTANTS, PEERS
from benchmarks.parts import Table
from benchmarks.statistics import per_million, percentile, share
from benchmarks.website import rails_window
from proofs.oracle import Read, Replay, Seen, Write, fewest_on_primary

ROOT = Path(__file__).resolve().parents[2]

# --- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [
        ([], 50, None),
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 102)), 99, 100),
        ([5.0, 6.0], 0, 5.0),
        ([5.0, 6.0], 100, 6.0),
    ],
)
def test_percentile(values, percent, found):
    assert percentile(values, percent) == found


def test_shares_of_nothing_are_not_nought():
    assert (share(1, 4), share(0, 0)) == (25.0, None)
    assert (per_million(3, 2_000_000), per_million(0, 0)) == (1.5, None)


# --- the oracle ----------------------------------------------------------------------------------

WROTE = Write(client=1, acknowledged=10.0, position=5)


@pytest.mark.parametrize(
    ("replayed", "read", "on_primary"),
    [
        ({"a": [(9.9, 5)]}, Read(1, 10.1, 10.2), 0),
        ({"a": [(10.15, 5)]}, Read(1, 10.1, 10.2), 0),
        ({"a": [(10.25, 5)]}, Read(1, 10.1, 10.2), 1),
        ({"a": []}, Read(1, 10.1, 10.2), 1),
        ({"a": [(9.0, 4)]}, Read(1, 10.1, 10.2), 1),
        ({"a": [(9.0, 4), (9.5, 9)]}, Read(1, 10.1, 10.2), 0),
        ({"a": [(99.0, 5)], "b": [(10.0, 6)]}, Read(1, 10.1, 10.2), 0),
        ({"a": [(99.0, 5)]}, Read(1, 9.8, 10.2), 0),
        ({"a": [(99.0, 5)]}, Read(2, 10.1, 10.2), 0),
        ({"a": [(9.0, 7), (9.5, 4), (12.0, 8)]}, Read(1, 10.1, 10.2), 0),
    ],
    ids=[
        "replayed before",
        "replayed while it was read",
        "replayed after",
        "never replayed",
        "replayed less",
        "replayed more",
        "another replica",
        "sent before the write was acknowledged",
        "another client's",
        "a position that went back",
    ],
)
def test_the_oracle_needs_the_primary_only_where_no_replica_would_do(replayed, read, on_primary):
    replays = {name: Replay(Seen(*each) for each in seen) for name, seen in replayed.items()}
    assert fewest_on_primary([read], [WROTE], replays) == on_primary


def test_under_strong_everybodys_writes_have_to_be_seen():
    replays = {"a": Replay([Seen(10.5, 5)])}
    reads = [Read(2, 10.1, 10.2), Read(2, 10.4, 10.6), Read(2, 9.0, 9.1)]
    assert fewest_on_primary(reads, [WROTE], replays, of_all=True) == 1
    assert fewest_on_primary(reads, [WROTE], replays) == 0


def test_the_newest_of_a_clients_writes_counts_in_whatever_order_they_were_acknowledged():
    writes = [Write(1, 10.0, 9), Write(1, 11.0, 8)]
    replays = {"a": Replay([Seen(0.0, 8)])}
    assert fewest_on_primary([Read(1, 12.0, 13.0)], writes, replays) == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_oracle_is_what_counting_one_by_one_finds(seed):
    import random

    draw = random.Random(seed)
    writes, now = [], 0.0
    for position in range(1, 60):
        now += draw.random()
        writes.append(Write(draw.randint(1, 3), now, position))
    seen = {
        name: [Seen(write.acknowledged + draw.choice([0.0, 0.5, 3.0]), write.position) for write in writes]
        for name in "ab"
    }
    for each in seen.values():  # A replica replays in order.
        latest = 0.0
        for index, one in enumerate(each):
            latest = max(latest, one.at)
            each[index] = Seen(latest, one.position)
    reads = [Read(draw.randint(1, 3), at := draw.uniform(0, now), at + 0.1) for _ in range(200)]

    def needs_primary(read):
        needed = [
            write.position
            for write in writes
            if write.client == read.client and write.acknowledged < read.sent
        ]
        return bool(needed) and not any(
            one.at <= read.answered and one.position >= max(needed) for one in itertools.chain(*seen.values())
        )

    replays = {name: Replay(each) for name, each in seen.items()}
    assert fewest_on_primary(reads, writes, replays) == sum(map(needs_primary, reads)) > 0


# --- reports -------------------------------------------------------------------------------------

TABLE = Table(
    key="speed",
    title="Speed",
    text="How quick each is.",
    columns={"who": "", "ns": "nanoseconds", "word": "in words"},
    rows=[{"who": "one", "ns": 1234.5}, {"who": "other", "ns": None, "word": "slow"}],
    formats={"ns": "{:,.0f}"},
    notes=["one: is quicker"],
)
ABOUT = {
    "cores": 2,
    "peers": {"django-other": "1.0"},
    "absent": {"django-old": "broken"},
    "command": "make it",
}


def test_a_report_has_its_figures_with_what_they_were_made_on(tmp_path):
    report.save(tmp_path, "decision", [TABLE], about=ABOUT)
    text = (tmp_path / report.MARKDOWN).read_text()
    assert "Made by `make it` on 2" in text
    assert "cores 2" in text
    assert "Peers: django-other 1.0." in text
    assert "Not there: django-old (broken)." in text
    assert (
        "|  | nanoseconds | in words |\n| --- | ---: | --- |\n| one | 1,234 | - |\n| other | - | slow |"
        in text
    )
    assert "- one: is quicker" in text
    assert json.loads((tmp_path / "decision.json").read_text())["tables"][0]["rows"][0]["ns"] == 1234.5


def test_a_figure_on_a_page_is_replaced_in_its_place(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("one\n<!-- cost -->\n<!-- end of cost -->\ntwo\n")
    for text in ("first", "second"):
        report.insert(page, "cost", text)
    assert page.read_text() == "one\n<!-- cost -->\nsecond\n<!-- end of cost -->\ntwo\n"
    with pytest.raises(ValueError, match="no place for 'speed'"):
        report.insert(page, "speed", "third")


def test_the_page_has_a_place_for_each_figure_of_a_request():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for name in ("the cost of a page", "the cost of a request"):
        assert page.count(f"<!-- {name} -->") == page.count(f"<!-- end of {name} -->") == 1


def test_the_parts_stand_in_their_order_whichever_was_made_last(tmp_path):
    for part in ("growth", "decision"):
        report.save(tmp_path, part, [TABLE], about=ABOUT)
    text = (tmp_path / report.MARKDOWN).read_text()
    assert text.index("## Decision") < text.index("## Growth")


# --- contestants ---------------------------------------------------------------------------------


def test_peers_are_of_one_version_so_that_reports_can_be_compared():
    assert PEERS
    assert all("==" in peer.requirement for peer in PEERS)
    assert all(key == each.key for key, each in CONTESTANTS.items())


def test_the_window_is_as_rails_has_it(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    router = rails_window.WindowRouter()
    found = []

    def view(_request):
        found.append(router.db_for_read(None) == "default")
        return HttpResponse()

    site, requests = rails_window.WindowMiddleware(view), RequestFactory()

    def visit(method, cookies):
        request = requests.generic(method, "/")
        request.COOKIES.update(cookies)
        return {name: morsel.value for name, morsel in site(request).cookies.items()}

    assert visit("GET", {}) == {}
    cookies = visit("POST", {})
    now[0] += rails_window.DELAY_SECONDS - 0.1
    visit("GET", cookies)
    now[0] += 0.2
    visit("GET", cookies)
    assert found == [False, True, True, False]
    assert router.db_for_write(None) == "default"


# --- what is said of them ------------------------------------------------------------------------


def tables(part):
    with (ROOT / "benchmarks" / "results" / f"{part}.json").open(encoding="utf-8") as file:
        return json.load(file)["tables"]


def measured(part, **key):
    """Return the rows of a part's first table that have these values."""
    return [row for row in tables(part)[0]["rows"] if key.items() <= row.items()]


def in_short():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    return " ".join(page.partition("## In short")[2].partition("\n## ")[0].split())


def test_the_summary_says_what_was_measured_of_freshness():
    [causal] = measured("consistency", who="django-rwrouter, causal")
    [rails] = measured("consistency", who="window of 2 s, as Rails has it")
    [multidb] = measured("consistency", who="django-multidb-router")
    assert (causal["stale"], rails["stale"], multidb["stale"]) == (0, 0, 0)
    assert (
        f"gave 0 stale reads of own writes and left {causal['primary']:.1f} % of the reads on the primary;"
        f" one who knows everything in advance would have needed {causal['oracle']:.1f} %."
    ) in in_short()
    assert (
        f"left {rails['primary']:.0f} % (two seconds, as Rails has it) and {multidb['primary']:.0f} % (15"
        " seconds, django-multidb-router)"
    ) in in_short()


def test_the_page_says_what_was_measured_under_each_condition():
    """In the words of docs/benchmarks.md, and no better than they are."""
    late = []
    for table in tables("consistency")[1:]:
        for _mix, rows in itertools.groupby(table["rows"], lambda row: (row["mix"], row["users"])):
            by_name = {row["who"]: row for row in rows}
            causal = by_name["django-rwrouter, causal"]
            peers = [
                row["primary"]
                for name, row in by_name.items()
                if not name.startswith(("django-rwrouter", "no router")) and row["stale"] == 0
            ]
            assert causal["stale"] == 0
            assert peers
            if table["key"] == "all delayed 1 s":
                late.append((causal["primary"], causal["oracle"]))
            else:
                assert causal["primary"] < min(peers) / 10
            if table["key"] in {"healthy", "one delayed 1 s"}:
                assert causal["primary"] == 0
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    fewer, more = ({f"{share:.0f}" for share in shares} for shares in sorted(late))
    assert (len(fewer), len(more)) == (1, 1)
    said = (
        f"primary for {fewer.pop()} % of the reads, or {more.pop()} % with more writes, and so does `causal`"
    )
    assert said in " ".join(page.split())


def test_the_summary_says_what_was_measured_of_decisions():
    ours = "django-rwrouter: read, "
    ratios = {row["what"]: row["ratio"] for row in measured("decision") if row["what"].startswith(ours)}
    outside = ratios.pop(f"{ours}outside any scope")
    timed = [ratios.pop(f"{ours}{scene}") for scene in ("window", "bounded, in a block")]
    assert (
        f"costs {min(ratios.values()):.2f} to {max(ratios.values()):.2f} times that of a two-line"
        f" `random.choice()` router in a request, {min(timed):.2f} to {max(timed):.2f} times at `window` and"
        f" `bounded`, which look at the clock, and {outside:.2f} times in a script without one"
    ) in in_short()


def test_the_summary_says_what_was_measured_of_faults():
    ours = [row for row in measured("faults") if row["who"].startswith("django-rwrouter")]
    assert {row["fault"] for row in ours} == {
        "one replica killed",
        "one replica frozen",
        "all replicas killed",
    }
    assert sum(row["errors"] for row in ours) == 0
    [one] = measured("faults", who="random, two lines", fault="one replica killed")
    [all_of_them] = measured("faults", who="random, two lines", fault="all replicas killed")
    assert (
        f"{one['failed']:.0f} % of the requests ended in one when one was killed, and"
        f" {all_of_them['failed']:.0f} % when all were"
    ) in in_short()
