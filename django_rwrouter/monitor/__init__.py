"""Probes all servers in the background, so that requests do not have to.

The first request, task or scope of a process starts a thread, and one more for each server if this process
probes for its host. The results go to :mod:`django_rwrouter.servers`, where reads look them up; no read waits
for the monitor. Where the monitor is off or has no samples yet, reads probe inline.
"""

from django_rwrouter.monitor.cluster_state import server_states
from django_rwrouter.monitor.lifecycle import ensure_running, reset, snapshot
from django_rwrouter.monitor.probes import ProbeQuestion, also_ask
from django_rwrouter.servers.server_state import ServerState

__all__ = ["ProbeQuestion", "ServerState", "also_ask", "ensure_running", "reset", "server_states", "snapshot"]
