"""Settings of the tests in which servers fail; the site that they watch has its own, in testproject/."""

from tests.settings import *  # noqa: F403
