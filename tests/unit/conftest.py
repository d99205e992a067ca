"""What all tests without a database need."""

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections


@pytest.fixture(autouse=True)
def closing_a_response_leaves_connections_alone():
    """As Django's test client does: a response that is closed here would look at other tests' connections."""
    request_finished.disconnect(close_old_connections)
    yield
    request_finished.connect(close_old_connections)
