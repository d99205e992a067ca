"""Takes the pictures of README and the documentation from a running demo, into docs/_static.

    make demo                       # in another terminal; it prints the password
    python tools/pictures.py ADDRESS PASSWORD [--minutes 15]

Visitors read and write meanwhile, so that the charts have something to show.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "_static"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SCREEN = {"width": 1100, "height": 1600}
THREE_LEVELS = 436
"""The height in which the lab shows ``eventual``, ``window`` and ``causal``."""
PER_SECOND = 4
"""Pages that visitors open."""
ONE_IN = 20
"""Of so many pages, one is followed by a post."""


def main() -> None:
    """Have visitors around for some minutes, then take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("address", help="of the demo, such as http://127.0.0.1:8000")
    parser.add_argument("password", help="of its account admin")
    parser.add_argument("--minutes", type=float, default=15)
    arguments = parser.parse_args()
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        try:
            visit(browser, arguments.address, arguments.minutes * 60)
            take(browser, arguments.address, arguments.password)
        finally:
            browser.close()


def visit(browser: Browser, address: str, seconds: float) -> None:
    """Read threads as somebody who has not written, and now and then write as somebody else."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reader = browser.new_context(base_url=address)
        for _ in range(ONE_IN):
            home = reader.request.get("/").text()
            threads = re.findall(r"/threads/\d+/", home)
            if threads:
                reader.request.get(random.choice(threads))
            time.sleep(1 / PER_SECOND)
        reader.close()
        if threads:
            writer = browser.new_context(base_url=address)
            page = writer.new_page()
            page.goto(threads[0])
            fill_in(page)
            for _ in range(3):
                page.goto("/")
            writer.close()


def fill_in(page: Page) -> None:
    """Post something in the thread that the page shows."""
    for field in page.locator("main form").locator("input[type=text], textarea").all():
        field.fill("Read from where it was written.")
    page.locator("main form button[type=submit]").click()


def take(browser: Browser, address: str, password: str) -> None:
    """Leave the pictures in docs/_static."""
    context = browser.new_context(base_url=address, viewport=SCREEN, color_scheme="light", locale="en")
    page = context.new_page()
    page.goto("/admin/login/?next=/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.locator("th a[href^='/admin/django_rwrouter/']").click()
    page.locator("#toggle-nav-sidebar").click()
    shoot(page, "panel-now")
    page.get_by_role("link", name="Over time").click()
    page.get_by_role("link", name="15 minutes").click()
    shoot(page, "panel-over-time", height=915)
    page.goto("/lab/")
    page.locator("main form button[type=submit]").click()
    results = page.locator("section[aria-labelledby=results] table").bounding_box() or SCREEN | {
        "x": 0,
        "y": 0,
    }
    page.screenshot(path=PICTURES / "lab.png", clip={**results, "height": THREE_LEVELS})


def shoot(page: Page, name: str, height: float | None = None) -> None:
    """Take the page down to where its content ends, or to a height."""
    page.wait_for_load_state()
    content = page.locator("#content-main").bounding_box() or SCREEN | {"y": 0}
    height = height or content["y"] + content["height"] + 20
    clip = {"x": 0, "y": 0, "width": SCREEN["width"], "height": height}
    page.screenshot(path=PICTURES / f"{name}.png", clip=clip)


if __name__ == "__main__":
    main()
