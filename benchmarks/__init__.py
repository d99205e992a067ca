"""Benchmarks beside what people use today: ``make bench``, or ``python -m benchmarks decision``.

docs/benchmarks.md says what each part measures and how to read it.
"""
