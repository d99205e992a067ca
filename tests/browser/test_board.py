"""A person on the board while the replicas stand still, and then in the admin."""

import re

import pytest

from tests.browser.visitor import PATIENCE

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
expect.set_options(timeout=PATIENCE)

A_REPLICA = re.compile(r"replica[12]")


def test_the_post_is_there_at_once_for_the_one_who_wrote_it(paused, visitor, new_visitor, look):
    page, title = visitor.page, f"Fog on the canal ({look.name})"
    visitor.open("/")
    # After the last test, the monitor has perhaps not seen yet that the replicas have caught up.
    visitor.reload_until(lambda: A_REPLICA.search(visitor.strip.inner_text()))
    expect(visitor.strip).not_to_contain_text("default")
    visitor.look_around("board")

    page.get_by_role("link", name="New thread").click()
    visitor.look_around("new-thread")
    page.get_by_label("Subject").fill(title)
    page.get_by_label("Your name").fill("Inés")
    page.get_by_label("Message").fill("The lock keeper's lamp is all one can see.")
    page.get_by_role("button", name="Start thread").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_text("The lock keeper's lamp")).to_be_visible()
    expect(visitor.strip).to_contain_text(re.compile(r"default.*pinned", re.DOTALL))
    expect(visitor.strip).to_contain_text(re.compile(r"The form you sent before: default.*write=2"))
    expect(visitor.strip).not_to_contain_text(A_REPLICA)

    expect(page.get_by_label("Your name")).to_have_value("Inés")
    page.get_by_label("Message").fill("Now it has gone out.")
    page.get_by_role("button", name="Post reply").click()
    expect(page.get_by_text("Now it has gone out.")).to_be_visible()
    visitor.look_around("thread")
    page.get_by_role("link", name="Board", exact=True).click()
    expect(page.get_by_role("link", name=title)).to_be_visible()

    # The replicas really are late: to anybody else it has not happened yet.
    with new_visitor() as other:
        other.open("/")
        expect(other.strip).to_contain_text(A_REPLICA)
        expect(other.page.get_by_role("link", name=title)).to_have_count(0)


REASONS = ["pinned", "window", "primary_only"]


def test_the_admin_shows_where_reads_went(paused, visitor):
    page = visitor.page
    visitor.open("/")
    visitor.log_in()
    page.locator("#content-main .model-routingstatistics a").first.click()
    expect(page.get_by_role("heading", name="Read/write routing", exact=True)).to_be_visible()
    page.get_by_role("navigation", name="Pages of the panel").get_by_role("link", name="Over time").click()
    page.wait_for_url(re.compile("/over-time/"))  # A row that is only half there has no cells yet.
    reasons = page.get_by_role("table", name="Why reads went there")
    visitor.reload_until(
        lambda: (
            all(reads(page, alias) for alias in ["default", "replica"])
            and all(reasons.get_by_text(reason, exact=True).count() for reason in REASONS)
        )
    )
    # On a phone each cell says what it is.
    databases = page.get_by_role("table", name="Databases")
    expect(databases.get_by_role("row", name=re.compile("default (Role )?primary"))).to_be_visible()
    expect(databases.get_by_role("row", name=re.compile("replica1 (Role )?replica"))).to_be_visible()
    expect(databases.get_by_role("row", name=re.compile("replica2 (Role )?replica"))).to_be_visible()
    for reason in REASONS:
        expect(reasons.get_by_text(reason, exact=True)).to_be_visible()
    # One of the two drawings, whichever fits the room.
    drawings = page.get_by_role("img", name="Reads by database")
    assert sum(drawings.nth(number).is_visible() for number in range(drawings.count())) == 1
    expect(visitor.strip).to_contain_text("Served by default")


def reads(page, alias):
    """How many reads the page shows for a database, or for all whose names begin so."""
    rows = page.get_by_role("table", name="Databases").locator("tbody tr").all()
    found = [row.locator("th, td").all_inner_texts() for row in rows]
    return sum(int(cells[2].replace(",", "")) for cells in found if cells[0].startswith(alias))


def test_the_lab_shows_the_problem_and_the_remedy(paused, visitor):
    page = visitor.page
    visitor.open("/lab/")
    page.get_by_label("Rounds:").fill("6")
    page.get_by_label("Pause between rounds (ms)").fill("0")
    page.get_by_role("button", name="Write and read back").click()
    expect(page.get_by_role("heading", name="What came of it")).to_be_visible()
    for way, stale, database, remark in [
        ("eventual", "6 of 6", A_REPLICA, "any replica will do"),
        ("use_replica", "6 of 6", A_REPLICA, "inside use_replica()"),
        ("window", "0 of 6", "default", "the client wrote a moment ago"),
        ("primary", "0 of 6", "default", "the level in force is “primary”"),
    ]:
        outcome = page.locator(f"#{way}")
        expect(outcome).to_contain_text(stale)
        expect(outcome).to_contain_text(database)
        expect(outcome).to_contain_text(remark)
    visitor.look_around("lab")


def test_three_servers_read_what_one_has_written(new_visitor, look, paused):
    with new_visitor(look) as visitor:
        visitor.open("/lab/three/")
        visitor.page.get_by_role("button", name="Write once, read on three servers").click()
        expect(visitor.page.get_by_role("heading", name="What each saw")).to_be_visible()
        visitor.page.wait_for_load_state()  # The cells may still be parsed.
        cells = {
            name: visitor.page.locator(f"#{name} .verdict").all_text_contents()
            for name in ("eventual", "causal", "strong")
        }
        assert cells == {
            "eventual": ["the past"] * 3,
            "causal": ["the write", "the past", "the past"],
            "strong": ["the write"] * 3,
        }
        visitor.look_around("three-servers")


def test_a_browser_that_asks_for_korean_gets_it(chromium, site):
    context = chromium.new_context(locale="ko-KR")
    try:
        page = context.new_page()
        for path, heading in {"/": "글 목록", "/lab/three/": "쓰기 한 번, 애플리케이션 서버 세 대"}.items():
            page.goto(f"{site.address}{path}")
            assert page.locator("html").get_attribute("lang") == "ko"
            assert page.locator("h1").text_content() == heading
    finally:
        context.close()
