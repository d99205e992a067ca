"""The tool that counts what a read costs in calls."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_trace_follows_a_first_read_through_a_replica_and_a_repeated_one():
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "trace_read.py", "--calls"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    pattern = r"^(\w+) read from (\w+): (\d+) calls in (\d+) modules, (\d+) changes of module$"
    (first, repeated) = re.findall(pattern, run.stdout, re.MULTILINE)
    assert (first[0], repeated[0]) == ("first", "repeated")
    assert first[1] == repeated[1] != "default"
    for name, _alias, calls, modules, changes in (first, repeated):
        assert 0 < int(modules) <= int(changes) + 1 <= int(calls), name
    assert int(repeated[2]) < int(first[2])
    part = run.stdout.partition("repeated read")[0]
    assert len(re.findall(r"^    [\w/]+\.py:\d+ ", part, re.MULTILINE)) == int(first[2])
    assert "route_read" in part
