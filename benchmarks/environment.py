"""The environment that everything runs in: a virtual one of its own, with the peers that can be installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, PEERS, Contestant

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / ".venv-peers"
INSTALL_SECONDS = 300
PROBE_SECONDS = 60


class PreparationError(RuntimeError):
    """The environment cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a contestant can take part, and if not, why."""

    version: str = ""
    router: str = ""
    """The error of its router; empty if it works."""
    middleware: str = ""
    """The same of its middleware."""


def enter() -> None:
    """Make the environment if it is not there, and go on in it: this process becomes its interpreter."""
    python = FOLDER / "bin" / "python"
    if Path(sys.prefix).resolve() == FOLDER.resolve():
        return
    wanted = _recipe()
    stamp = FOLDER / "made"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"Installing what is compared into {FOLDER.relative_to(ROOT)}", flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
        _pip("install", "--upgrade", "pip>=25.1")  # which brought --group
        _pip("install", "--group", f"{ROOT / 'pyproject.toml'}:bench", _django())
        failures = {peer.key: _install(peer) for peer in PEERS}
        (FOLDER / "failures.json").write_text(json.dumps(failures))
        stamp.write_text(wanted)
    sys.stdout.flush()
    os.execv(python, [str(python), "-m", "benchmarks", *sys.argv[1:]])


def judge(environment: dict[str, str]) -> dict[str, Verdict]:
    """Try every contestant's router and middleware on this Django, each in a process of its own."""
    failures = _install_failures()
    return {key: _judge(each, failures.get(key, ""), environment) for key, each in CONTESTANTS.items()}


def _judge(contestant: Contestant, failure: str, environment: dict[str, str]) -> Verdict:
    if failure:
        return Verdict(router=failure, middleware=failure)
    name = re.split(r"[=<>~]", contestant.requirement)[0]
    errors = _probe(contestant, environment)
    return Verdict(version=importlib.metadata.version(name) if name else "", **errors)


def _probe(contestant: Contestant, environment: dict[str, str]) -> dict[str, str]:
    try:
        result = subprocess.run(
            [sys.executable, "-m", "benchmarks.workers.probe"],
            env=worker_environment(environment, contestant),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return dict.fromkeys(("router", "middleware"), f"no answer within {PROBE_SECONDS} s")
    if result.returncode:  # It cannot even be imported.
        error = (result.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return {"router": error, "middleware": error}
    errors: dict[str, str] = json.loads(result.stdout.splitlines()[-1])
    return errors


def worker_environment(environment: dict[str, str], contestant: Contestant, **more: str) -> dict[str, str]:
    """Return the environment of a process that works for a contestant."""
    return {
        **os.environ,
        **environment,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "benchmarks.website.settings",
        "BENCH_CONTESTANT": contestant.key,
        **more,
    }


def _recipe() -> str:
    """Return what the environment is made of; another text means that it is made anew."""
    group = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\nbench = [")[2].partition("]")[0]
    )
    return "\n".join([sys.version, _django(), group, *(peer.requirement for peer in PEERS)])


def _django() -> str:
    """Return the Django to use: the one beside the interpreter that was asked, otherwise the newest."""
    try:
        return f"Django=={importlib.metadata.version('Django')}"
    except importlib.metadata.PackageNotFoundError:
        return "Django"


def _install(peer: Contestant) -> str:
    try:
        _pip("install", peer.requirement, _django())
    except PreparationError as error:
        return f"cannot be installed: {error}"
    return ""


def _install_failures() -> dict[str, str]:
    found: dict[str, str] = json.loads((FOLDER / "failures.json").read_text())
    return found


def _pip(*arguments: str) -> None:
    _run([str(FOLDER / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])


def _run(command: list[str]) -> None:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        raise PreparationError(f"no end of {' '.join(command)} within {INSTALL_SECONDS} s") from None
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line and not line.startswith("WARNING")]
        raise PreparationError((lines or [f"{command[0]} ended with {result.returncode}"])[-1])
