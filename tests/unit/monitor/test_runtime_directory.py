"""The directory in which processes meet is the user's own, or it is refused."""

import os
import time
from pathlib import Path

import pytest

from django_rwrouter.monitor import runtime_directory
from django_rwrouter.monitor.runtime_directory import NotPrivateError, RuntimeDirectory, location


def test_it_is_made_for_its_user_alone(tmp_path):
    directory = RuntimeDirectory(str(tmp_path / "own"))
    directory.replace("a.json", b"one")
    directory.replace("a.json", b"two")
    assert directory.read("a.json") == b"two"
    assert directory.read("b.json") == b""
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "own" / "a.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["a.json"]
    directory.close()


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert location() == str(tmp_path / "django-rwrouter")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(runtime_directory.tempfile, "gettempdir", lambda: "/tmp")
    assert location() == f"/tmp/django-rwrouter-{os.geteuid()}"


def test_a_directory_that_others_may_enter_is_refused(tmp_path):
    tmp_path.chmod(0o755)
    with pytest.raises(NotPrivateError, match="mode 0755"):
        RuntimeDirectory(str(tmp_path))


def test_a_symbolic_link_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match=r"\[Errno"):
        RuntimeDirectory(str(tmp_path / "link"))
    directory = RuntimeDirectory(str(tmp_path / "real"))
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "real" / "a.lock").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=r"\[Errno"):
        directory.open("a.lock")
    with pytest.raises(OSError, match=r"\[Errno"):
        directory.read("a.lock")
    directory.close()


def test_a_named_pipe_is_refused_and_hangs_nobody(tmp_path):
    directory = RuntimeDirectory(str(tmp_path / "own"))
    os.mkfifo(tmp_path / "own" / "a.json", 0o600)
    with pytest.raises(NotPrivateError):
        directory.read("a.json")
    directory.close()


@pytest.mark.parametrize("what", ["directory", "file"])
def test_what_belongs_to_another_user_is_refused(tmp_path, monkeypatch, what):
    directory = RuntimeDirectory(str(tmp_path / "own"))
    os.close(directory.open("a.lock"))
    uid = os.geteuid()
    monkeypatch.setattr(runtime_directory.os, "geteuid", lambda: uid + 1)
    with pytest.raises(NotPrivateError, match="another user"):
        directory.open("a.lock") if what == "file" else RuntimeDirectory(str(Path(tmp_path, "own")))
    directory.close()


def test_what_nobody_has_written_for_a_day_is_swept_out(tmp_path):
    """A lock is as old as its process; the snapshot beside it tells that it lives."""
    directory = RuntimeDirectory(str(tmp_path / "x"))
    yesterday = time.time() - 2 * 86_400
    for name in ("left.lock", "left.json", "left.json.17", "lives.lock", "own.lock"):
        directory.replace(name, b"")
        os.utime(tmp_path / "x" / name, (yesterday, yesterday))
    directory.replace("lives.json", b"")
    directory.sweep("own")
    directory.close()
    left = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert left == ["lives.json", "lives.lock", "own.lock"]
