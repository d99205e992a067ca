"""Benchmarks beside what people use today: ``make bench``, or ``python -m benchmarks decision``.

docs/benchmarks.md says what each part measures and how to read it.
"""

from __future__ import annotations

import proofs  # noqa: F401  (puts the message board's folder on the path)
