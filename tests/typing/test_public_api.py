"""mypy accepts what `public_api.py` does with the public API."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC_API = "tests/typing/public_api.py"


def test_the_public_api_as_a_user_writes_it(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    mypy = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}"]
    checked = subprocess.run([*mypy, PUBLIC_API], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
