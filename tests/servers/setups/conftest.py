"""What the tests of set-ups share."""

import pytest

from tests.servers.products.conftest import django_db_setup, routed, rwrouter

__all__ = ["django_db_setup", "routed", "rwrouter"]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("product") is None:
            item.add_marker(pytest.mark.product("mariadb"))
