"""What operators can do, in the words of the panel and of the commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_rwrouter.conf import get_settings
from django_rwrouter.operations import overrides
from django_rwrouter.operations.override_table import OverrideKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that can be done. ``%(target)s`` in a text stands for the alias or the cluster."""

    name: str
    kind: OverrideKind
    function: Callable[..., object]
    """Puts an override into force, or ends one: then it returns whether there was one."""
    question: Promise
    consequence: Promise
    button: Promise
    done: Promise
    nothing: Promise | None = None
    """What to say where there was none to end; ``None`` for an action that puts one into force."""

    def carry_out(self, target: str, reason: str, by: str) -> tuple[bool, str]:
        """Carry it out; return whether it changed anything, and what to tell the operator.

        Raises what :func:`overrides.drain` raises. Only an action that makes an override keeps the reason.
        """
        reasons = {"reason": reason} if self.nothing is None else {}
        ended = self.function(target, by=by, **reasons)
        if self.nothing is not None and not ended:
            return False, str(self.nothing) % {"target": target}
        return True, f"{str(self.done) % {'target': target}} {_when()}"


def _when() -> str:
    """Say when the other processes do the same."""
    monitor = get_settings().monitor
    if monitor.mode == "off":
        return gettext(
            'But RWROUTER["MONITOR"]["MODE"] is "off": no other process looks for it, so it has no effect'
            " there."
        )
    return gettext("All processes follow within %(seconds)s s.") % {"seconds": f"{2 * monitor.interval:g}"}


ACTIONS: Final = (
    Action(
        name="drain",
        kind=OverrideKind.DRAIN,
        function=overrides.drain,
        question=_("Drain the replica “%(target)s”?"),
        consequence=_(
            "The replica takes no more reads, in any process, until somebody puts it back. Reads that run"
            " there now end undisturbed. The other replicas take over; if there is none, the primary does."
        ),
        button=_("Drain"),
        done=_("The replica “%(target)s” is drained."),
    ),
    Action(
        name="undrain",
        kind=OverrideKind.DRAIN,
        function=overrides.undrain,
        question=_("Put the replica “%(target)s” back?"),
        consequence=_("The replica takes reads again, in all processes, as soon as it is healthy."),
        button=_("Put back"),
        done=_("The replica “%(target)s” takes reads again."),
        nothing=_("The replica “%(target)s” was not drained."),
    ),
    Action(
        name="switch-off",
        kind=OverrideKind.PRIMARY_ONLY,
        function=overrides.switch_off,
        question=_("Send everything of the cluster “%(target)s” to its primary?"),
        consequence=_(
            "All reads go to the primary, in all processes, until somebody takes the switch back. The primary"
            " must be able to bear them."
        ),
        button=_("Send everything to the primary"),
        done=_("Everything of the cluster “%(target)s” goes to its primary."),
    ),
    Action(
        name="switch-on",
        kind=OverrideKind.PRIMARY_ONLY,
        function=overrides.switch_on,
        question=_("Let replicas of the cluster “%(target)s” answer again?"),
        consequence=_("Reads are spread over the replicas again, in all processes."),
        button=_("Let replicas answer"),
        done=_("Replicas of the cluster “%(target)s” answer again."),
        nothing=_("The kill switch of the cluster “%(target)s” was not thrown."),
    ),
)
