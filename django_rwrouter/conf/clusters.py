"""The clusters of the project, and how models and aliases map to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache, cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import AppRegistryNotReady
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models.base import ModelBase

from django_rwrouter import process
from django_rwrouter.conf.model_labels import (
    OWN_APP,
    is_historical,
    is_named,
    is_primary_only,
    label_of,
    table_name,
)
from django_rwrouter.conf.options import ClusterSettings, Lifetime, Settings
from django_rwrouter.conf.parser import SETTING
from django_rwrouter.conf.project import get_settings
from django_rwrouter.conf.validators import did_you_mean
from django_rwrouter.decision import Decision, Level, Operation, Reason
from django_rwrouter.exceptions import UnknownNameError

if TYPE_CHECKING:
    from django.db.models import Model

_DATABASE_CACHE: Final = "django.core.cache.backends.db.DatabaseCache"


class Cluster:
    """A primary, its replicas, and their settings. Its attributes never change."""

    def __init__(self, settings: ClusterSettings, *, enabled: bool, shadow: bool) -> None:
        self.settings = settings
        self.enabled = enabled
        self.shadow = shadow
        self.name = settings.name
        self.primary = settings.primary
        self.replicas = settings.replicas
        self.replica_aliases = tuple(replica.alias for replica in settings.replicas)
        self.aliases = (self.primary, *self.replica_aliases)
        self.keeps_replica = settings.replica_per == "request"
        """Whether a scope reads from one replica throughout."""
        self.max_lag = settings.pin_seconds if settings.max_lag is None else settings.max_lag
        """By how many seconds a replica may be behind that takes ``window`` reads."""
        self.needs_positions = bool(
            settings.consistency in {Level.CAUSAL, Level.STRONG}
            or settings.monotonic_reads
            or settings.sync_replicas
        )
        """Whether the level, or another setting, rests on positions in the database's log."""


class ModelRoute:
    """The constant part of routing one model, and its decisions, which are shared."""

    def __init__(self, cluster: Cluster, model: type[Model] | None, fixed: Reason | None) -> None:
        self.cluster = cluster
        self.model = model
        self.fixed = fixed
        """Why all reads of the model go to the primary; ``None`` if they do not."""
        self.table = "" if model is None else table_name(model._meta.db_table)
        """The table, as :func:`table_name` returns it."""
        self.replicas = tuple(
            replica for replica in cluster.replicas if model is None or not is_named(replica.excepted, model)
        )
        """The replicas that replicate the model."""
        self.timely_replicas = tuple(replica for replica in self.replicas if not replica.delayed)
        """Those of them that are not ``DELAYED``."""
        self.is_plain = model is not None and fixed is None and len(self.replicas) == len(cluster.replicas)
        """Whether nothing in the settings tells the model from others of its cluster."""
        self._decisions: dict[tuple[str, Reason, Operation, str | None], Decision] = {}

    def decide(
        self, alias: str, reason: Reason, operation: Operation = "read", would_be: str | None = None
    ) -> Decision:
        """Return the decision with these values: always the same object for the same values."""
        key = (alias, reason, operation, would_be)
        try:
            return self._decisions[key]
        except KeyError:
            decision = self._decisions[key] = Decision(
                alias=alias, reason=reason, operation=operation, model=self.model, would_be=would_be
            )
            return decision


class Topology:
    """All clusters of the project, and how models and aliases map to them."""

    def __init__(self, settings: Settings) -> None:
        self.inert = settings.inert
        enabled, shadow = settings.enabled is not False, settings.enabled == "shadow"
        self.clusters: Mapping[str, Cluster] = {
            cluster.name: Cluster(cluster, enabled=enabled, shadow=shadow) for cluster in settings.clusters
        }
        self.routed_clusters = () if self.inert else tuple(self.clusters.values())
        """Those that the router serves: none if nothing is configured."""
        self.by_alias: Mapping[str, Cluster] = {
            alias: cluster for cluster in self.routed_clusters for alias in cluster.aliases
        }
        """The cluster of each alias in the setting; empty if nothing is configured."""
        self.mirrors: Mapping[str, Cluster] = {
            alias: self.by_alias[mirrored]
            for alias, options in connections.settings.items()
            if alias not in self.by_alias and (mirrored := mirrored_by(options)) in self.by_alias
        }
        """The cluster of each alias outside the setting whose ``TEST["MIRROR"]`` names one inside: a second
        alias of a server, or a replica that was taken out of the setting."""
        self.lifetimes = {
            cluster.name: Lifetime(cluster.pin_seconds, cluster.token_seconds)
            for cluster in settings.clusters
        }
        """For how many seconds a client's mark lives, by cluster."""
        self.unsafe_paths = tuple(entry for entry in settings.unsafe_views if entry.startswith("/"))
        """Path prefixes whose requests are treated like a POST whatever their method."""
        self.unsafe_views = frozenset(settings.unsafe_views).difference(self.unsafe_paths)
        """View names whose requests are treated so."""
        self._owners = {
            label: cluster for cluster in self.clusters.values() for label in cluster.settings.models or ()
        }
        self._catch_all = next(
            (cluster for cluster in self.clusters.values() if cluster.settings.models is None), None
        )
        self._routes: dict[type[Model], ModelRoute | None] = {}
        self._raw = {name: ModelRoute(cluster, None, None) for name, cluster in self.clusters.items()}

    def route(self, model: type[Model] | Model) -> ModelRoute | None:
        """Return how a model is routed, or ``None`` if no cluster serves it.

        Some packages ask with an object in place of its class.
        """
        try:
            return self._routes[model]  # type: ignore[index]
        except (KeyError, TypeError):  # Not every object has a hash.
            if not isinstance(model, type):
                return self.route(type(model))
            route = self._make_route(model)
            # Each migration makes new historical models, and the database cache a new stand-in each time:
            # caching those would leak them.
            if isinstance(model, ModelBase) and not is_historical(model):
                self._routes[model] = route
            return route

    def home(self, instance: Model) -> Cluster | None:
        """Return the cluster that an object was loaded from, or ``None`` if that is outside the setting.

        A cached object may carry an alias that no setting has any more: then its model decides.
        """
        alias = instance._state.db
        if alias is None:
            return None
        cluster = self.cluster_of(alias)
        if cluster is None and alias not in connections.settings:
            route = self.route(type(instance))
            return None if route is None else route.cluster
        return cluster

    def cluster_of(self, alias: str) -> Cluster | None:
        """Return the cluster whose data an alias shows, also a second one."""
        return self.by_alias.get(alias) or self.mirrors.get(alias)

    def is_foreign(self, alias: str) -> bool:
        """Whether an alias is of a database outside all clusters."""
        return alias not in self.by_alias and alias not in self.mirrors and alias in connections.settings

    def raw_route(self, cluster: str) -> ModelRoute:
        """Return the route of raw SQL on a cluster; raises ``UnknownNameError`` for an unknown name."""
        self.check_cluster(cluster)
        return self._raw[cluster]

    def check_cluster(self, name: str) -> None:
        """Raise ``UnknownNameError`` if there is no cluster of that name."""
        if name not in self.clusters:
            names = ", ".join(map(repr, self.clusters)) or "none"
            hint = did_you_mean(name, self.clusters, f"The clusters are: {names}.")
            raise UnknownNameError(f"There is no cluster {name!r} in {SETTING}. {hint}")

    def owner(self, app_label: str, model_name: str | None) -> Cluster | None:
        """Return the cluster that a model or a whole app belongs to, ignoring case."""
        app_label = app_label.lower()
        owner = self._owners.get(f"{app_label}.{model_name.lower()}") if model_name else None
        return owner or self._owners.get(app_label) or self._catch_all

    def owners(self, app_label: str, model_name: str | None) -> frozenset[Cluster]:
        """Return the clusters that a migration of this model, or of any model of the app, concerns."""
        app_label = app_label.lower()
        if model_name:
            owners = {self.owner(app_label, model_name)}
        else:
            owners = {
                owner
                for label, owner in self._owners.items()
                if label == app_label or label.startswith(f"{app_label}.")
            }
            if app_label not in self._owners:
                owners.add(self._catch_all)
        return frozenset(owner for owner in owners if owner is not None)

    @cached_property
    def primary_only_tables(self) -> frozenset[str]:
        """Tables whose writes pin nobody."""
        fixed = {
            table_name(str(options["LOCATION"]))
            for options in django_settings.CACHES.values()
            if options.get("BACKEND") == _DATABASE_CACHE and "LOCATION" in options
        }
        others: set[str] = set()
        for route, _model in self._routes_of_all():
            (fixed if route.fixed is Reason.PRIMARY_ONLY else others).add(route.table)
        # If another model of the same table is read from replicas, writes to it do pin.
        return frozenset(fixed - others)

    @cached_property
    def tables_on_primary(self) -> frozenset[str]:
        """Tables of ``PRIMARY_ONLY``: any statement that reads one, even in a join, runs on the primary."""
        return frozenset(
            route.table
            for route, model in self._routes_of_all()
            if is_named(route.cluster.settings.primary_only, model)
        )

    @cached_property
    def tables_apart(self) -> frozenset[str]:
        """The tables that not every replica may be asked for."""
        return self.tables_on_primary.union(*self.excepted_tables.values())

    def _routes_of_all(self) -> Iterator[tuple[ModelRoute, type[Model]]]:
        for model in apps.get_models(include_auto_created=True):
            if (route := self.route(model)) is not None:
                yield route, model

    def without(self, cluster: Cluster, tables: Collection[str]) -> frozenset[str]:
        """Return the replicas of a cluster that do not replicate all of these tables (``EXCEPT``)."""
        return frozenset(
            replica.alias
            for replica in cluster.replicas
            if replica.excepted and not self.excepted_tables[replica.alias].isdisjoint(tables)
        )

    @cached_property
    def excepted_tables(self) -> Mapping[str, frozenset[str]]:
        """The tables that a replica does not replicate, by alias; only for replicas with ``EXCEPT``."""
        return {
            replica.alias: frozenset(
                table_name(model._meta.db_table)
                for model in apps.get_models(include_auto_created=True)
                if is_named(replica.excepted, model)
            )
            for cluster in self.clusters.values()
            for replica in cluster.replicas
            if replica.excepted
        }

    @cached_property
    def _session_model(self) -> object:
        """The model of ``SESSION_ENGINE``, which need not inherit Django's; ``None`` if it has none."""
        try:
            return import_module(django_settings.SESSION_ENGINE).SessionStore.get_model_class()
        except AppRegistryNotReady:
            raise
        except Exception:  # noqa: BLE001  (no table, or an engine that cannot be used: the site's own to explain)
            return None

    def _make_route(self, model: type[Model]) -> ModelRoute | None:
        if self.inert:
            return None
        cluster = self.owner(*label_of(model))
        if cluster is None:
            return None
        fixed = None
        if is_historical(model):
            fixed = Reason.MIGRATION
        elif model is self._session_model or is_primary_only(cluster.settings.primary_only, model):
            fixed = Reason.PRIMARY_ONLY
        return ModelRoute(cluster, model, fixed)


def mirrored_by(options: Mapping[str, Any]) -> str | None:
    """Return the alias that an entry of ``DATABASES`` mirrors in tests."""
    mirrored: str | None = options["TEST"]["MIRROR"]
    return mirrored


@cache
def get_topology() -> Topology:
    """Return the topology of the settings in force; raises ``ImproperlyConfigured`` if they are wrong."""
    return Topology(get_settings())


process.derives(get_topology.cache_clear, [SETTING, "CACHES", "SESSION_ENGINE"])


def home_of(model_name: str) -> str:
    """Return the alias of the database that has a table of this package."""
    owner = get_topology().owner(OWN_APP, model_name)
    return owner.primary if owner else DEFAULT_DB_ALIAS
