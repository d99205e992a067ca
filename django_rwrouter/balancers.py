"""Choosing one of the replicas that qualify."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_rwrouter.conf import SETTING
from django_rwrouter.options import ReplicaSettings


class Balancer(Protocol):
    """What ``BALANCER`` names: a class without arguments. One instance serves all threads of a process."""

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        """Return one of ``replicas``, which is never empty."""
        ...


class RandomBalancer:
    """Draw at random, each replica in proportion to its ``WEIGHT``."""

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        """Return one of ``replicas``."""
        if len(replicas) == 1:
            return replicas[0]
        bounds = _bounds(tuple(replica.weight for replica in replicas))
        # random() < 1, so the draw stays below the last bound.
        draw = random.random() * bounds[-1]
        return next(replica for replica, bound in zip(replicas, bounds, strict=True) if draw < bound)


@lru_cache(maxsize=64)
def _bounds(weights: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(accumulate(weights))


BALANCERS: Final[dict[str, type[Balancer]]] = {"random": RandomBalancer}


@lru_cache(maxsize=64)
def get_balancer(name: str) -> Balancer:
    """Return the balancer of that name or dotted path; raises ``ImproperlyConfigured``."""
    if "." not in name:
        if name in BALANCERS:
            return BALANCERS[name]()
        known = ", ".join(map(repr, BALANCERS))
        raise ImproperlyConfigured(
            f"{SETTING}['BALANCER'] is {name!r}; write one of {known}, or the dotted path of a class."
        )
    try:
        balancer: Balancer = import_string(name)()
    except (ImportError, TypeError, ValueError) as error:
        raise ImproperlyConfigured(
            f"{SETTING}['BALANCER'] is {name!r}, which cannot be used: {error}"
        ) from error
    if not callable(getattr(balancer, "choose", None)):
        raise ImproperlyConfigured(f"{SETTING}['BALANCER'] is {name!r}, which has no choose().")
    return balancer
