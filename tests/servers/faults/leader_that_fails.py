"""A configuration of gunicorn: another process watches for all workers, is killed or stopped, and returns."""

import os
import signal
import subprocess
import sys
import threading
import time

LEAD = """
import os, time, django
django.setup()
from django_rwrouter import monitor
from django_rwrouter.monitor import lifecycle
monitor.ensure_running()
while not lifecycle._monitor.rounds.probers or len(monitor.snapshot()) < 3:
    time.sleep(0.01)
print("leads", flush=True)
while os.getppid() == int(os.environ["LEADER_PARENT"]):
    time.sleep(0.1)
"""
SIGNAL = getattr(signal, os.environ["LEADER_SIGNAL"])
AT, FOR = 2.0, 4.0
"""Seconds after which it fails, and for which it stands still."""


def on_starting(_server):
    leader = subprocess.Popen(
        [sys.executable, "-c", LEAD],
        stdout=subprocess.PIPE,
        env={**os.environ, "LEADER_PARENT": str(os.getpid())},
    )
    assert leader.stdout.readline() == b"leads\n"

    def fail():
        time.sleep(AT)
        leader.send_signal(SIGNAL)
        print("The leader has failed.", file=sys.stderr, flush=True)
        time.sleep(FOR)
        leader.send_signal(signal.SIGCONT)
        print("The leader may go on.", file=sys.stderr, flush=True)

    threading.Thread(target=fail, daemon=True).start()
