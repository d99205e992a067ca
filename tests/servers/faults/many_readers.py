"""A thousand clients who ask at the same moment, each on a connection of its own."""

import asyncio
import time
from dataclasses import dataclass

TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One of theirs."""

    status: int
    headers: dict[str, str]
    seconds: float

    @property
    def served_by(self):
        return self.headers["x-served-by"]

    @property
    def server_seconds(self):
        """What the request cost once a thread had taken it up."""
        return float(self.headers["x-seconds"])


def ask_at_once(host, port, path, cookie, count):
    """Send the same GET so many times at once. Returns the answers, and the seconds until the last."""

    async def ask_all():
        connections = [await asyncio.open_connection(host, port) for _ in range(count)]
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        began = time.monotonic()
        async with asyncio.timeout(TIMEOUT):
            answers = await asyncio.gather(*(ask(*connection, head) for connection in connections))
        return answers, time.monotonic() - began

    async def ask(reader, writer, head):
        began = time.monotonic()
        writer.write(head)
        text = await reader.read()
        writer.close()
        status, *lines = text.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in pairs}
        return Answer(int(status.split(" ")[1]), headers, time.monotonic() - began)

    return asyncio.run(ask_all())
