"""How the settings name models, and what the database calls their tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from django.db.models.base import ModelBase

if TYPE_CHECKING:
    from django.db.models import Model

OWN_APP: Final = "django_rwrouter"
_ALWAYS_PRIMARY: Final = frozenset({"contenttypes", "django_cache", OWN_APP})
"""App labels; ``django_cache`` is the label of the database cache's stand-in model."""
_SITES: Final = "django.contrib.sites.models"
"""Its rows are cached for the life of the process (``SITE_CACHE``), so a stale one would stay."""


def label_of(model: type[Model]) -> tuple[str, str]:
    """Return app label and lower-case name.

    An automatic many-to-many model counts as the model that declares it, and a proxy as its concrete model.
    The database cache's stand-in has no ``_meta.label``, so that is not used.
    """
    meta = model._meta
    declared_by = getattr(meta, "auto_created", None)
    if declared_by:
        meta = declared_by._meta
    concrete = getattr(meta, "concrete_model", None)
    if concrete is not None:
        meta = concrete._meta
    return meta.app_label.lower(), str(meta.model_name)


def is_historical(model: type[Model]) -> bool:
    """Whether a migration made this model (Django marks such models with this module's name)."""
    return model.__module__ == "__fake__"


def is_named(labels: frozenset[str], model: type[Model]) -> bool:
    """Whether a setting names a model, or its app."""
    return bool(labels) and any(
        app_label in labels or f"{app_label}.{model_name}" in labels
        for app_label, model_name in _labels(model)
    )


def is_primary_only(labels: frozenset[str], model: type[Model]) -> bool:
    """Whether all reads of a model go to the primary: by ``PRIMARY_ONLY``, or always."""
    # An abstract model: importable once the apps are ready, even if sessions are not installed.
    from django.contrib.sessions.base_session import AbstractBaseSession

    if isinstance(model, ModelBase) and issubclass(model, AbstractBaseSession):
        return True
    if model.__module__ == _SITES or is_named(labels, model):
        return True
    return any(app_label in _ALWAYS_PRIMARY for app_label, _model_name in _labels(model))


def _labels(model: type[Model]) -> set[tuple[str, str]]:
    """Return all labels under which a setting may name a model."""
    own = (model._meta.app_label.lower(), str(model._meta.model_name))
    # A child's reads join its parents' tables, and writes to PRIMARY_ONLY tables pin nobody.
    parents = map(label_of, model._meta.get_parent_list()) if isinstance(model, ModelBase) else ()
    return {own, label_of(model), *parents}


OPENING_QUOTES: Final = '"`['
_CLOSING: Final = '"`]'
_SEPARATOR: Final = re.compile(r"""["`\]]\s*\.\s*["`\[]""")


def table_name(db_table: str) -> str:
    """Return a model's ``db_table`` in lower case and without quotes, with a dot between schema and table.

    Django quotes the whole name unless it is quoted already, which sites use to name a schema:
    ``'"schema"."table"'`` or ``'schema"."table'``. Some databases tell ``Book`` and ``book`` apart, others do
    not: two tables that differ in nothing else are taken for one.
    """
    quoted = len(db_table) > 1 and db_table[0] in OPENING_QUOTES and db_table[-1] in _CLOSING
    return _SEPARATOR.sub(".", db_table[1:-1] if quoted else db_table).lower()
