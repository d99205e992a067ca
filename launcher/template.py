"""The data of a new server: made once by each process, and copied for all servers that it starts."""

import atexit
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from launcher.watchdog import Watchdog

_one_at_a_time = threading.Lock()


def copy_template(folders: Sequence[Path], kind: str, make: Callable[[Path], None]) -> None:
    """Copy to these folders what `make` has put into one for servers of this kind (product and version)."""
    if not folders:
        return
    with _one_at_a_time:
        template = _templates() / kind
        if not template.exists():
            new = template.with_name(f"{kind}.new")
            shutil.rmtree(new, ignore_errors=True)
            make(new)
            new.rename(template)
    for folder in folders:
        copy = folder.with_name("data.new")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(template, copy)
        copy.rename(folder)  # at once: half a copy would be taken for a database


@cache
def _templates() -> Path:
    """Where they are; the folder goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="rwrouter-templates-"))
    watchdog = Watchdog()
    watchdog.remove(folder)
    atexit.register(watchdog.close)
    return folder
