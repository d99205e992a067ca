"""Starts the board's web server as a process of its own, for the demo and the load test."""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

TESTPROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTPROJECT.parent))  # `servers` stands beside this folder.

from launcher.watchdog import Watchdog  # noqa: E402

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 20
KEEP_ALIVE_SECONDS = 75


class WebServerError(RuntimeError):
    """The server ended by itself, or did not answer in time."""


def manage(environment: Mapping[str, str], *arguments: str) -> None:
    """Run a management command. Raises ``CalledProcessError`` if it fails."""
    subprocess.run(
        [sys.executable, str(TESTPROJECT / "manage.py"), *arguments],
        env=_with_this_checkout(environment),
        cwd=TESTPROJECT,
        stdin=subprocess.DEVNULL,
        check=True,
    )


def _with_this_checkout(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that uses the package of this checkout, installed or not."""
    path = os.pathsep.join(filter(None, [str(TESTPROJECT.parent), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **environment}


def gunicorn_is_installed() -> bool:
    """Whether there is a server with several processes."""
    return is_installed("gunicorn")


def is_installed(server: str) -> bool:
    """Whether there is a server of that name."""
    return importlib.util.find_spec(server) is not None


@contextmanager
def web_server(
    environment: Mapping[str, str],
    port: int,
    *,
    server: str = "",
    workers: int = 2,
    threads: int = 4,
    arguments: Sequence[str] = (),
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the board on a loopback port inside the block.

    By ``server``: ``gunicorn`` or ``uvicorn``, with so many ``workers`` and further ``arguments``. Without
    one by gunicorn if it is installed, otherwise by Django's own server, which is one process with a thread
    for each request. It ends with the block, or with this process, however that dies. What it says goes to
    the terminal, or into the file ``log``. Raises :class:`WebServerError` if it does not come up.
    """
    server = server or ("gunicorn" if gunicorn_is_installed() else "runserver")
    command = [sys.executable, *COMMANDS[server](port, workers, threads), *arguments]
    watchdog = Watchdog()
    with log.open("ab") if log is not None else nullcontext() as output:
        process = subprocess.Popen(
            command,
            env=_with_this_checkout(environment),
            cwd=TESTPROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C on the terminal is for the one who started us, who stops the servers in order.
            start_new_session=True,
        )
    watchdog.guard(process.pid)
    try:
        _wait_until_it_answers(process, port)
        yield process
    finally:
        # Django's server stops cleanly on SIGINT alone.
        _stop(process, signal.SIGINT if server == "runserver" else signal.SIGTERM)
        watchdog.forget(process.pid)
        watchdog.close()


def _gunicorn(port: int, workers: int, threads: int) -> list[str]:
    return [
        *("-m", "gunicorn", "config.wsgi", f"--bind={HOST}:{port}", "--log-level=warning"),
        *(f"--workers={workers}", "--worker-class=gthread", f"--threads={threads}"),
        # Longer than a client of the load test may be silent: a connection that is closed under a
        # POST cannot be told from a POST that was lost.
        f"--keep-alive={KEEP_ALIVE_SECONDS}",
        # Its place is the same for all gunicorns of a user, and several may run here at once.
        "--no-control-socket",
    ]


def _uvicorn(port: int, workers: int, _threads: int) -> list[str]:
    return [
        *("-m", "uvicorn", "config.asgi:application", f"--host={HOST}", f"--port={port}"),
        *("--log-level=warning", f"--workers={workers}", f"--timeout-keep-alive={KEEP_ALIVE_SECONDS}"),
        "--lifespan=off",
    ]


def _runserver(port: int, _workers: int, _threads: int) -> list[str]:
    return ["manage.py", "runserver", f"{HOST}:{port}", "--noreload", "--insecure"]


COMMANDS: Mapping[str, Callable[[int, int, int], list[str]]] = {
    "gunicorn": _gunicorn,
    "uvicorn": _uvicorn,
    "runserver": _runserver,
}


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)  # does nothing to a process that has ended
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise WebServerError(f"The web server ended with status {process.returncode}.")
        connection = http.client.HTTPConnection(HOST, port, timeout=10)
        try:
            # Not a page: no database is to be asked, and no statistics are to be counted.
            connection.request("GET", "/static/board/icon.svg")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.1)
        else:
            return
        finally:
            connection.close()
    raise WebServerError(f"The web server has not answered for {START_SECONDS} seconds.")
