"""A person's browser, and what it has to complain of."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.servers.mariadb.board import ADMIN

_BUILD = Path(__file__).resolve().parents[2] / "build"
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", _BUILD / "screenshots"))
"""Where pictures of the pages are left, for people to look at."""
PATIENCE = 20_000
"""Milliseconds that a page, or what is expected on it, may take on a busy machine."""
POLICY = "default-src 'self'"
"""What the Content-Security-Policy of every page must say: nothing inline, nothing from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a visitor's screen is like."""

    name: str
    options: dict[str, object]
    """For Playwright's ``new_context()``."""


_DESKTOP = {"viewport": {"width": 1280, "height": 900}}
_PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
LOOKS = [
    Look(name=f"{size}-{colors}", options={**screen, "color_scheme": colors})
    for size, screen in [("desktop", _DESKTOP), ("phone", _PHONE)]
    for colors in ["light", "dark"]
]


class Visitor:
    """One person, on a page that belongs to a context, and so to cookies, of their own."""

    def __init__(self, page, look, address):
        self.page = page
        self.look = look
        self.complaints = []
        """Scripts that fail, what the policy forbids, missing files: whatever the console would show."""
        self._address = address
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("requestfailed", self._on_failure)
        page.on("response", self._on_response)

    def open(self, path):
        self.page.goto(f"{self._address}{path}")

    def reload_until(self, condition):
        """Load the page again and again: what happens in one process shows in the others a moment later."""
        deadline = time.monotonic() + PATIENCE / 1000
        while not condition():
            assert time.monotonic() < deadline, self.page.locator("#content").inner_text()
            self.page.wait_for_timeout(100)
            self.page.reload()

    def log_in(self):
        """Be the administrator from now on."""
        self.open("/admin/login/?next=/admin/")
        self.page.get_by_label("Username").fill(ADMIN["username"])
        self.page.get_by_label("Password").fill(ADMIN["password"])
        self.page.get_by_role("button", name="Log in").click()

    @property
    def strip(self):
        """The strip at the foot of each page, which names the databases."""
        return self.page.get_by_label("Databases that served this page")

    def look_around(self, name):
        """Leave a picture of the whole page, and make sure that it fits the width of the screen."""
        self.page.wait_for_load_state()
        wide, room, tall = self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth,"
            " document.documentElement.scrollHeight]"
        )
        screen = self.page.viewport_size
        # On a screen as tall as the page, so that what sticks to the screen's edge hides nothing.
        self.page.set_viewport_size({**screen, "height": max(tall, screen["height"])})
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.look.name}.png", full_page=True)
        self.page.set_viewport_size(screen)
        assert wide <= room, f"{name} is {wide} pixels wide on a screen of {room}"

    def _on_console(self, message):
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def _on_error(self, error):
        self.complaints.append(str(error))

    def _on_failure(self, request):
        if request.failure != "net::ERR_ABORTED":  # The visitor went on before it was there.
            self.complaints.append(f"{request.url}: {request.failure}")

    def _on_response(self, response):
        if response.status >= 400:
            self.complaints.append(f"{response.url}: {response.status}")
        is_page = response.headers.get("content-type", "").startswith("text/html")
        if is_page and POLICY not in response.headers.get("content-security-policy", ""):
            self.complaints.append(f"{response.url}: its policy does not say {POLICY}")
