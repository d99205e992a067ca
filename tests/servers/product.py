"""The products that tests on real servers are run with."""

import pytest

PRODUCTS = ("mariadb", "mysql", "postgresql")


def on(*names):
    """Return parameters for a test that runs with each of these products; --product chooses among them."""
    return [pytest.param(name, marks=pytest.mark.product(name)) for name in names]
