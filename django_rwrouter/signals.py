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
