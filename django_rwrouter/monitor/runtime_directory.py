"""The directory that the processes of one user on one host share; it must be private to that user."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_MODE: Final = 0o700
_FOREIGN_BITS: Final = 0o077
"""Permission bits that would let other users in."""
_LEFT_SECONDS: Final = 86_400
_SAFE: Final = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Follow no symbolic link, do not block on a named pipe, and close on exec."""


class NotPrivateError(OSError):
    """A directory or file belongs to another user, or other users may change it."""


def location() -> str:
    """Return the path of the directory, whether it exists or not."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime:
        return str(Path(runtime, "django-rwrouter"))
    return str(Path(tempfile.gettempdir(), f"django-rwrouter-{os.geteuid()}"))


def flaw() -> str:
    """Return why this user cannot use the directory, or an empty string. Creates nothing."""
    if not hasattr(os, "geteuid"):
        return ""  # Windows, where nothing is shared.
    path = location()
    try:
        RuntimeDirectory(path, make=False).close()
    except FileNotFoundError:
        path = str(Path(path).parent)
    except OSError as error:
        return reason_of(error)
    return "" if os.access(path, os.W_OK | os.X_OK) else f"{path} is missing or not writable"


def reason_of(error: OSError) -> str:
    """Return why the directory cannot be used, with its path."""
    return str(error.args[0]) if error.errno is None and error.args else f"{error.strerror} ({location()})"


class RuntimeDirectory:
    """An open private directory. Files are opened relative to it, so replacing its path has no effect."""

    def __init__(self, path: str, *, make: bool = True) -> None:
        """Open the directory, and create it if it is missing; raise ``OSError`` if it is not private."""
        self.path = path
        if make:
            with suppress(FileExistsError):
                Path(path).mkdir(_MODE)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
        try:
            _require_private(os.fstat(self._fd), path)
        except OSError:
            self.close()
            raise

    def open(self, name: str, flags: int = os.O_RDWR | os.O_CREAT) -> int:
        """Open a file, which is created if it is missing, and return its descriptor."""
        fd = os.open(name, flags | _SAFE, 0o600, dir_fd=self._fd)
        try:
            _require_private(os.fstat(fd), f"{self.path}/{name}", stat.S_ISREG)
        except OSError:
            os.close(fd)
            raise
        return fd

    def identity(self, name: str) -> tuple[int, int, int]:
        """Return device, inode and modification time of a file; zeros if it does not exist."""
        try:
            status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return (0, 0, 0)
        return (status.st_dev, status.st_ino, status.st_mtime_ns)

    def read(self, name: str) -> bytes:
        """Return the contents of a file; empty if it does not exist."""
        try:
            fd = self.open(name, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        with os.fdopen(fd, "rb") as file:
            return file.read()

    def replace(self, name: str, contents: bytes) -> None:
        """Write a file atomically: a reader sees the old contents or the new."""
        temporary = f"{name}.{os.getpid()}"
        fd = self.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(contents)
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            self.remove(temporary)
            raise

    def remove(self, name: str) -> None:
        """Remove a file; ignore it if that fails."""
        with suppress(OSError):
            os.unlink(name, dir_fd=self._fd)

    def sweep(self, own: str) -> None:
        """Remove what other settings, versions and boots have left: nobody has written it for a day.

        Files that belong together have the same name up to the first dot; ``own`` are this process's.
        """
        since = time.time() - _LEFT_SECONDS
        names = os.listdir(self._fd)  # noqa: PTH208  (the open directory, whatever its path leads to now)
        kept = {own, *(_key_of(name) for name in names if self.identity(name)[2] / 1e9 > since)}
        for name in names:
            if _key_of(name) not in kept:
                self.remove(name)

    def close(self) -> None:
        """Close the directory."""
        os.close(self._fd)


def _key_of(name: str) -> str:
    return name.partition(".")[0]


def _require_private(
    status: os.stat_result, path: str, is_kind: Callable[[int], bool] = stat.S_ISDIR
) -> None:
    if not is_kind(status.st_mode):
        raise NotPrivateError(f"{path} is neither a file nor a directory of this package's")
    if status.st_uid != os.geteuid():
        raise NotPrivateError(f"{path} belongs to another user (uid {status.st_uid})")
    if status.st_mode & _FOREIGN_BITS:
        mode = stat.S_IMODE(status.st_mode)
        raise NotPrivateError(f"{path} has mode {mode:04o}, which lets other users in")
