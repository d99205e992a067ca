"""An HTTP client with cookies, as a browser has them."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    body: bytes
    served_by: str
    """The header ``X-Served-By``."""
    process: str = ""
    """The header ``X-Process``: the id of the process that answered."""


class Browser:
    """One user's cookies, and two connections that are kept alive.

    One is for writing and one for reading, so that most users are served by different processes of
    the web server for the two: what the user wrote has to travel in the cookies.
    """

    def __init__(self, host: str, port: int) -> None:
        self._connections = {
            method: http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
            for method in ("GET", "POST")
        }
        self._cookies: dict[str, tuple[str, float]] = {}

    def get(self, path: str) -> Answer:
        """Send a GET request."""
        return self._request("GET", path, None)

    def post(self, path: str, data: dict[str, Any]) -> Answer:
        """Send a POST request with JSON."""
        return self._request("POST", path, json.dumps(data).encode())

    def close(self) -> None:
        """Close both connections."""
        for connection in self._connections.values():
            connection.close()

    def _request(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        now = time.monotonic()
        cookies = [f"{name}={value}" for name, (value, end) in self._cookies.items() if end > now]
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        connection = self._connections[method]
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()  # The next request opens it again.
            raise
        self._keep_cookies(response)
        served_by, process = (response.getheader(name, "") for name in ("X-Served-By", "X-Process"))
        return Answer(response.status, content, served_by, process)

    def _keep_cookies(self, response: http.client.HTTPResponse) -> None:
        for line in response.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                max_age = morsel["max-age"]
                seconds = float(max_age) if max_age != "" else float("inf")
                self._cookies[name] = (morsel.coded_value, time.monotonic() + seconds)
