"""An ASGI application that counts. Run by test_stats_processes.py under real servers."""

import os

from counting_process import count, set_up

set_up(os.environ["STATISTICS"], 3600)


async def application(scope, receive, send):
    assert scope["type"] == "http"
    count(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"counted"})
