"""The clock of assertions about seconds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import time
from tests.busy_clock import busy_clock
began, really = busy_clock(), time.monotonic()
print("began", flush=True)
input()
print(busy_clock() - began, time.monotonic() - really)
"""


def test_it_stands_still_while_the_process_is_stopped():
    command = [sys.executable, "-c", CHILD]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as child:
        assert child.stdout.readline() == "began\n"
        child.send_signal(signal.SIGSTOP)
        time.sleep(1)
        child.send_signal(signal.SIGCONT)
        output, _errors = child.communicate("\n")
    seconds, really = map(float, output.split())
    assert really >= 1
    assert seconds <= really - 0.9


def test_it_goes_on_while_the_process_waits():
    from tests.busy_clock import busy_clock

    began = busy_clock()
    really = time.monotonic()
    while busy_clock() - began < 0.2:
        time.sleep(0.01)
    assert time.monotonic() - really >= 0.2
