"""Proofs of what the package promises, on real servers: no stale read, and no error while servers fail."""

from __future__ import annotations

import sys
from pathlib import Path

# The site under load is the message board's, whose modules stand in that folder by themselves.
sys.path.append(str(Path(__file__).resolve().parents[1] / "testproject"))
