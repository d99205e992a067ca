"""Signals that other code may listen to."""

from __future__ import annotations

from django.dispatch import Signal

statement_routed = Signal()
"""Sent after each statement on a database of ours, in the context that ran it.

Arguments: ``alias`` (the database), ``decision`` (a :class:`~django_rwrouter.Decision`; its reason is
``EXPLICIT`` where no call of the router announced the statement), ``sql``, ``seconds`` (the time that
the database took to answer) and ``wrote`` (whether the statement counts as a write). Transaction
control (``SAVEPOINT`` and the like) is not sent. It costs nothing while nobody listens.
"""

replica_ejected = Signal()
"""Sent when this process stops reading from a replica. Arguments: ``alias``, ``cluster`` and ``why``."""

replica_restored = Signal()
"""Sent when it reads from the replica again. Arguments: ``alias``, ``cluster`` and ``seconds`` out."""

read_failed_over = Signal()
"""Sent when a read has lost its replica and was run again elsewhere.

Arguments: ``alias`` (the replica), ``substitute`` (the database that answered), ``cluster`` and ``why``.
"""

read_spilled = Signal()
"""Sent when a read goes to the primary because all replicas lag. Argument: ``cluster``."""

primary_lost = Signal()
"""Sent when a monitor finds that a primary does not answer. Arguments: ``alias``, ``cluster`` and ``why``."""

primary_found = Signal()
"""Sent when it answers again. Arguments: ``alias``, ``cluster``."""

role_changed = Signal()
"""Sent when a server is found in another role than before.

Arguments: ``alias``, ``cluster`` and ``role``: ``"primary"``, ``"replica"``, or ``"unknown"``.
"""

replica_drained = Signal()
"""Sent when an operator has taken a replica out of rotation. Arguments: ``alias``, ``cluster``, ``why``."""

replica_undrained = Signal()
"""Sent when it has been put back. Arguments: ``alias``, ``cluster``."""
