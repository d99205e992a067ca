"""A cluster of the product that a module tests; it belongs to that module alone."""

import pytest

from launcher.process import ServerError


@pytest.fixture(scope="module")
def product(request):
    """The one that the module names; ``test_all.py`` has each of them by turns."""
    return request.module.PRODUCT


@pytest.fixture(scope="module", autouse=True)
def _can_be_had(product):
    try:
        product.find()
    except ServerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def running(product):
    with product.cluster(replicas=2) as cluster:
        cluster.primary.sql(product.table)
        yield cluster


@pytest.fixture
def cluster(running):
    yield running
    running.heal()


@pytest.fixture
def replica(cluster):
    return cluster.replicas[0]
