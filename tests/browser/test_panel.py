"""Somebody who looks after the servers, on the panel of the admin, while the servers come and go."""

import re

import pytest

from tests.browser.visitor import LOOKS, PATIENCE

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
expect.set_options(timeout=PATIENCE)

PANEL = "/admin/django_rwrouter/routingstatistics/"
QUESTION = "explain/?model=board.Thread&method=GET&token_age=2"
PAGES = {
    "now": "",
    "over-time": "over-time/",
    "replication": "replication/",
    "events": "events/",
    "explain": QUESTION,
    "actions": "actions/",
    "drain": "actions/drain/replica1/",
}
HARMFUL = {"serious", "critical"}
"""How bad a violation has to be, as axe-core puts it, to be one here."""


@pytest.fixture
def keeper(visitor):
    visitor.log_in()
    return visitor


@pytest.fixture
def new_keeper(new_visitor):
    """The same for tests that look at what pages do, and not at how they look."""
    with new_visitor(LOOKS[0]) as visitor:
        visitor.log_in()
        yield visitor


@pytest.fixture
def mended(running):
    """Whatever the test does to the servers is undone."""
    yield running
    running.heal()


def server(page, alias):
    return page.get_by_role("table", name="Databases of the cluster").get_by_role(
        "row", name=re.compile(f"^{alias} ")
    )


def test_a_replica_that_stops_is_shown_without_loading_the_page_again(mended, new_keeper):
    page = new_keeper.page
    new_keeper.open(PANEL)
    expect(server(page, "replica2")).to_contain_text("healthy")
    expect(page.get_by_text("all is well")).to_be_visible()
    page.evaluate("window.isTheSamePage = true")

    mended.replicas[1].kill()
    expect(server(page, "replica2")).to_contain_text(re.compile("ejected|does not answer"))
    expect(page.get_by_text("1 of 2 replicas take reads").first).to_be_visible()
    expect(page.locator("#rwrouter-announcement")).to_contain_text(
        re.compile("replica2: (ejected|does not answer)")
    )
    new_keeper.look_around("panel-replica-stopped")

    mended.replicas[1].start()
    expect(server(page, "replica2")).to_contain_text("healthy")
    assert page.evaluate("window.isTheSamePage")

    new_keeper.open(PANEL + "events/?database=replica2")
    events = page.get_by_role("table", name="Events, newest first")
    expect(events).to_contain_text("Replica ejected")


def test_a_replica_that_stands_still_is_shown_step_by_step(mended, new_keeper):
    page = new_keeper.page
    mended.pause(mended.replicas[0])
    mended.primary.sql("CREATE DATABASE IF NOT EXISTS test_something_new")
    new_keeper.open(PANEL + "replication/")
    steps = page.get_by_role("table", name="Where each replica is")
    expect(steps.get_by_role("row", name=re.compile("^replica1 "))).to_contain_text("behind")
    expect(steps.get_by_role("row", name=re.compile("^replica2 "))).to_contain_text("level with the primary")
    new_keeper.look_around("panel-replica-behind")


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[-1]], ids=lambda look: look.name)
def test_drained_and_put_back_by_clicking(keeper, look):
    page = keeper.page
    keeper.open(PANEL)
    page.get_by_role("link", name=re.compile("Drain replica2")).click()
    expect(page.get_by_role("heading", name="Drain the replica “replica2”?")).to_be_visible()
    page.get_by_label("Reason").fill(f"Its disks are full ({look.name})")
    page.get_by_role("button", name="Drain", exact=True).click()
    expect(page.get_by_text("The replica “replica2” is drained.")).to_be_visible()
    expect(server(page, "replica2")).to_contain_text("drained")
    expect(server(page, "replica2")).to_contain_text(f"Its disks are full ({look.name}) (admin)")

    page.get_by_role("link", name=re.compile("Put back replica2")).click()
    page.get_by_role("button", name="Put back", exact=True).click()
    expect(page.get_by_text("The replica “replica2” takes reads again.")).to_be_visible()
    expect(server(page, "replica2")).not_to_contain_text("drained")
    keeper.open("/admin/")
    recent = page.get_by_role("list").filter(has_text="replica2")
    expect(recent.first).to_be_visible()


def test_the_kill_switch_by_clicking(new_keeper, new_visitor):
    page = new_keeper.page
    new_keeper.open(PANEL + "actions/")
    page.get_by_role("link", name=re.compile("Send everything to the primary")).click()
    with new_visitor() as other:  # The keeper has logged in just now, and reads from the primary anyway.
        other.open("/")
        other.reload_until(lambda: "replica" in other.strip.inner_text())
        page.get_by_role("button", name="Send everything to the primary").click()
        expect(page.get_by_text("The kill switch is thrown")).to_be_visible()
        other.reload_until(lambda: "replica" not in other.strip.inner_text())
    new_keeper.open(PANEL)
    page.get_by_role("link", name="Let replicas answer…").click()
    page.get_by_role("button", name="Let replicas answer").click()
    expect(page.get_by_text("The kill switch is thrown")).to_have_count(0)


def test_the_charts_are_there_and_their_numbers(keeper, site):
    page = keeper.page
    for _time in range(5):
        keeper.open("/")
    keeper.open(PANEL + "over-time/")
    for span in ["15 minutes", "7 days", "24 hours", "1 hour"]:
        page.get_by_role("navigation", name="Span of time").get_by_role("link", name=span).click()
        expect(page.get_by_role("link", name=span)).to_have_attribute("aria-current", "true")
        for title in ["Reads by database", "What 95 % of the reads took at most"]:
            drawings = page.get_by_role("img", name=title)
            expect(drawings.filter(visible=True)).to_have_count(1)
            table = page.get_by_role("table", name=f"{title}, in numbers")
            expect(table).to_have_count(0)
            page.locator("section", has=page.get_by_role("heading", name=title)).locator("summary").click()
            expect(table).to_be_visible()
    page.wait_for_timeout(300)  # For what the summaries' arrows do.
    keeper.open(PANEL + "over-time/")
    keeper.look_around("panel-over-time")


@pytest.mark.parametrize("width", [1280, 1180])
def test_nothing_is_cut_off_beside_the_sidebar(new_keeper, width):
    page = new_keeper.page
    page.set_viewport_size({"width": width, "height": 800})
    for path in PAGES.values():
        new_keeper.open(PANEL + path)
        cut_off = page.evaluate(
            """() => [...document.querySelectorAll(".rwrouter-scroll, .rwrouter-tabs ul")]
                .filter((each) => each.scrollWidth > each.clientWidth)
                .map((each) => each.id || each.tagName)"""
        )
        assert cut_off == [], path


def test_a_long_position_is_broken_behind_a_hyphen(new_keeper):
    page = new_keeper.page
    page.set_viewport_size({"width": 700, "height": 800})
    new_keeper.open(PANEL + "replication/")
    before_breaks = page.evaluate(
        """() => [...document.querySelectorAll("td code")].flatMap((code) => {
            code.textContent = "0-1-123456789012345678901234567";
            const text = code.firstChild, range = document.createRange();
            const tops = [...text.data].map((_letter, place) => {
                range.setStart(text, place);
                range.setEnd(text, place + 1);
                return range.getBoundingClientRect().top;
            });
            return [...text.data].filter((_letter, place) => tops[place + 1] > tops[place]);
        })"""
    )
    assert before_breaks
    assert set(before_breaks) == {"-"}


def test_rows_are_cards_on_a_phone(new_keeper):
    page = new_keeper.page
    page.set_viewport_size({"width": 390, "height": 800})
    for path in PAGES.values():
        new_keeper.open(PANEL + path)
        cut_off = page.evaluate(
            """() => [...document.querySelectorAll(".rwrouter-scroll:not(.rwrouter-tall)")]
                .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.id)"""
        )
        assert cut_off == [], path
    new_keeper.open(PANEL)
    row = page.get_by_role("row", name=re.compile("replica1"))
    assert row.get_by_role("link").bounding_box()["x"] < 390


def test_the_pages_are_in_one_row_on_a_phone(new_keeper):
    page = new_keeper.page
    page.set_viewport_size({"width": 390, "height": 800})
    new_keeper.open(PANEL)
    tabs = page.get_by_role("navigation", name="Pages of the panel").get_by_role("link")
    assert len({tab.bounding_box()["y"] for tab in tabs.all()}) == 1


def test_the_way_here_looks_as_on_the_pages_of_the_admin(keeper):
    """Whatever element this version of Django has for it."""
    looks = []
    for path in (PANEL, "/admin/auth/user/"):
        keeper.open(path)
        way = keeper.page.get_by_role("navigation", name="Breadcrumbs").locator(".breadcrumbs")
        looks.append(
            way.evaluate(
                """each => {
                    const style = getComputedStyle(each);
                    return [style.backgroundColor, style.color, each.offsetHeight];
                }"""
            )
        )
    *ours, height = looks[0]
    *admins, expected = looks[1]
    assert ours == admins
    assert abs(height - expected) < 10, "not in one line"


def test_no_page_has_a_serious_violation_of_accessibility(keeper):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    violations = []
    for name, path in PAGES.items():
        keeper.open(PANEL + path)
        keeper.look_around(f"panel-{name}")
        violations += [
            (name, each["id"], each["help"], [node["html"] for node in each["nodes"]])
            for each in axe.Axe().run(keeper.page).response["violations"]
            if each["impact"] in HARMFUL
        ]
    assert violations == []


def test_updates_can_be_paused(new_keeper):
    page = new_keeper.page
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "fragment" in request.url else None)
    new_keeper.open(PANEL)
    page.get_by_role("button", name="Pause updates").click()
    asked.clear()
    page.wait_for_timeout(6_000)  # Longer than the time between two updates.
    assert asked == []
    with page.expect_request(lambda request: "fragment" in request.url):
        page.get_by_role("button", name="Resume updates").click()
    expect(page.get_by_role("button", name="Pause updates")).to_be_visible()


def test_an_update_leaves_what_somebody_has_opened_open(new_keeper):
    page = new_keeper.page
    new_keeper.open("/")
    new_keeper.open(PANEL + "over-time/")
    numbers = page.locator("#rwrouter-chart-reads-numbers")
    numbers.locator("summary").click()
    numbers.locator("summary").focus()
    page.clock.install()
    page.reload()
    numbers.locator("summary").click()
    with page.expect_response(re.compile("fragment")):
        page.clock.run_for(31_000)
    expect(numbers).to_have_attribute("open", "")
    expect(numbers.locator("summary")).to_be_focused()


def test_without_javascript(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(f"{site.address}/admin/login/?next={PANEL}")
        page.fill("#id_username", "admin")
        page.fill("#id_password", "for tests only")
        page.click("[type=submit]")
        expect(server(page, "replica1")).to_contain_text("healthy")
        expect(page.get_by_role("button", name="Pause updates")).to_have_count(0)
        page.get_by_role("link", name="Explain").click()
        page.get_by_label("Model").select_option("board.Thread")
        page.get_by_role("button", name="Explain").click()
        expect(page.get_by_role("heading", name="Where it goes")).to_be_visible()
        page.get_by_role("link", name="Actions").click()
        page.get_by_role("link", name=re.compile("Drain replica1")).click()
        page.get_by_role("link", name="Cancel").click()
        expect(page).to_have_url(f"{site.address}{PANEL}")
    finally:
        context.close()
