"""The exceptions that this package raises."""

from __future__ import annotations

from django.db import DatabaseError


class ReplicaWriteError(DatabaseError):
    """A statement tried to write through a replica's connection, which is read-only.

    Nothing was written. The server's own error is the ``__cause__``.
    """


class NoReplicaAvailable(Exception):  # noqa: N818  (the name is part of the public API)
    """A block with ``strict=True`` would have had to read from the primary."""


class UnknownNameError(ValueError):
    """The settings have no such cluster, or no such replica; the message says which there are."""
