"""Part 1: what a decision costs, through ``django.db.router``."""

from __future__ import annotations

from benchmarks.contestants import BASELINE, CONTESTANTS, LEVELS, OURS
from benchmarks.parts import Run, Table
from benchmarks.timing import Effort, Job, take_turns

# Long enough that a pinned client stays so while it is timed.
_PINNED = '{"PIN_SECONDS": 300, "MAX_LAG": 300}'
_SCENES = {
    "pinned": ("window", "pinned", _PINNED),
    "a position reached": ("causal", "reached", "{}"),
    "bounded, in a block": ("window", "bounded", "{}"),
    "in a transaction": ("window", "transaction", "{}"),
    "outside any scope": ("window", "outside", "{}"),
}
QUICK = Effort(rounds=1, loops=200, values=3)
FULL = Effort(rounds=3, loops=1000, values=8)


def jobs(run: Run) -> list[Job]:
    """Return what is timed."""
    found = []
    for key, contestant in CONTESTANTS.items():
        if not key.startswith(OURS) and not run.verdicts[key].router:
            found += [
                Job(name=f"{contestant.title}: {scene}", contestant=key, scene=scene)
                for scene in ("read", "write")
            ]
    found += [
        Job(name=f"{OURS}: read, {level}", contestant=f"{OURS}:{level}", scene="plain") for level in LEVELS
    ]
    found += [
        Job(name=f"{OURS}: read, {title}", contestant=f"{OURS}:{level}", scene=scene, settings=settings)
        for title, (level, scene, settings) in _SCENES.items()
    ]
    found.append(Job(name=f"{OURS}: write", contestant=f"{OURS}:window", scene="our-write"))
    return found


def measure(run: Run) -> list[Table]:
    """Time all of them."""
    seconds, errors = take_turns(
        "decision", jobs(run), QUICK if run.quick else FULL, run.environment, run.say
    )
    title = CONTESTANTS[BASELINE].title
    rows = []
    for name, values in seconds.items():
        base = seconds[f"{title}: {'write' if name.endswith('write') else 'read'}"]
        rows.append(
            {
                "what": name,
                "ns": min(values) * 1e9,
                "ratio": min(values) / min(base),
            }
        )
    return [
        Table(
            key="decision",
            title="Cost of a decision",
            text=(
                "`db_for_read` and `db_for_write` through `django.db.router`, with statistics on, after the"
                " first of its request: the quietest of all measurements, as whatever else the machine does"
                " only ever adds. The ratio is to the two-line random router."
            ),
            columns={"what": "", "ns": "ns", "ratio": "ratio"},
            formats={"ns": "{:.0f}", "ratio": "{:.2f}"},
            rows=rows,
            notes=[f"{name}: {error}" for name, error in errors.items()],
        )
    ]
