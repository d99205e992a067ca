"""What servers begin with is made once by each process."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.template import copy_template

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make():
    """Make a template, and count how often; in vain the first time."""
    made = []

    def make(folder):
        folder.mkdir()
        made.append(folder)
        (folder / "half").touch()
        if len(made) == 1:
            raise ValueError("no room")
        (folder / "half").unlink()
        (folder / "file").write_text("system tables")

    make.made = made
    return make


def test_servers_of_one_kind_get_copies_of_one_template(make, tmp_path):
    folders = [tmp_path / name / "data" for name in ("one", "two", "three", "four")]
    for folder in folders:
        folder.parent.mkdir()
    with pytest.raises(ValueError, match="no room"):
        copy_template(folders[:1], "some", make)
    assert not folders[0].exists()
    copy_template(folders[:2], "some", make)
    (folders[0] / "file").write_text("its own")
    copy_template(folders[2:3], "some", make)
    assert len(make.made) == 2
    copy_template(folders[3:], "others", make)
    assert len(make.made) == 3
    texts = [(folder / "file").read_text() for folder in folders]
    assert texts == ["its own", "system tables", "system tables", "system tables"]
    assert [path.name for folder in folders for path in folder.iterdir()] == ["file"] * 4


SCRIPT = """
import os, sys
from pathlib import Path
from launcher.template import copy_template
copy_template([Path(sys.argv[1])], "some", lambda folder: (print(folder.parent, flush=True), folder.mkdir()))
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("end", ["killed", "ends"])
def test_templates_go_with_their_process(tmp_path, end):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "data", end],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (tmp_path / "data").is_dir()
    templates = Path(run.stdout.strip())
    deadline = time.monotonic() + 20
    while templates.exists():
        assert time.monotonic() < deadline, f"{templates} is still there"
        time.sleep(0.01)
