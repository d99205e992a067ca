"""Benchmarks beside what people use today: ``make bench``, or ``python -m benchmarks decision``.

docs/benchmarks.md says what each part measures and how to read it.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Its site and its load are the message board's, whose modules stand in that folder by themselves.
sys.path.append(str(Path(__file__).resolve().parents[1] / "testproject"))
