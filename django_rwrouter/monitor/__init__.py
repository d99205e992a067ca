"""Probes all servers again and again, so that no request has to.

One thread for each process, started by the first request, task or scope that is routed, and one for each
server. What the probes learn is kept in :mod:`django_rwrouter.servers`, where the path of a read looks;
nothing there waits for the monitor. Where it is off, or has no samples yet, reads probe inline.
"""

from django_rwrouter.monitor.lifecycle import ensure_running, reset, snapshot
from django_rwrouter.monitor.questions import ProbeQuestion, also_ask
from django_rwrouter.servers.server_state import ServerState

__all__ = ["ProbeQuestion", "ServerState", "also_ask", "ensure_running", "reset", "snapshot"]
