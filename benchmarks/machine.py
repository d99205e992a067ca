"""On what a report was made: the machine, without its name, and all versions."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("Django", "mysqlclient", "gunicorn", "pyperf")


def describe(cluster: Any) -> dict[str, Any]:
    """Return what a reader has to know of the machine to compare figures with those of another one."""
    return {
        "cores": os.cpu_count(),
        "cpu": _first(r"model name\s*:\s*(.+)", "/proc/cpuinfo") or platform.machine(),
        "memory_gb": round(int(_first(r"MemTotal:\s*(\d+)", "/proc/meminfo") or 0) / 1024**2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "database": cluster.primary.sql("SELECT VERSION()")[0][0],
        "load_before": round(os.getloadavg()[0], 2),
        **{name.lower(): version(name) for name in PACKAGES},
    }


def command() -> str:
    """Return how this run was asked for."""
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


def _first(pattern: str, file: str) -> str:
    try:
        found = re.search(pattern, Path(file).read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found[1].strip() if found else ""
