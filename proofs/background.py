"""Work in threads beside a block, whose errors are raised where the block ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def in_background(
    works: Sequence[Callable[[], object]], ended: threading.Event
) -> Iterator[Sequence[threading.Thread]]:
    """Run each work in a thread of its own inside the block; ``ended`` tells them to return.

    Raises the first error of a thread at the end: a fault that was never made, or a user who went home early,
    proves nothing.
    """
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (raised in the caller's thread)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
