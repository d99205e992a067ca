"""A project registers a database product, as the built-in ones are registered."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from django_rwrouter import databases
from django_rwrouter.databases import errors
from django_rwrouter.databases.base import ErrorCodes, Loss
from django_rwrouter.databases.mariadb import MariaDBPosition


@dataclass(frozen=True)
class Number:
    """A position that is a number."""

    number: int

    def covers(self, other):
        return isinstance(other, Number) and self.number >= other.number

    def merge(self, other):
        return max(self, other, key=lambda position: position.number)

    def encode(self):
        return str(self.number)

    @classmethod
    def decode(cls, text):
        return cls(int(text))


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(databases, "_products", dict(databases._products))
    monkeypatch.setattr(errors, "_registered", dict(errors._registered))


def connection(vendor):
    return SimpleNamespace(vendor=vendor)


def test_a_product_that_nobody_has_registered_has_no_positions():
    assert not databases.has_positions("oracle")
    assert databases.get_driver(connection("oracle")) is None
    assert databases.get_reader(connection("oracle")) is None
    with pytest.raises(TypeError, match=r"Number has no letter: register"):
        databases.encode(Number(7))


def test_a_registered_product_has_a_driver_a_reader_and_positions_in_tokens():
    driver, reader = object(), object()
    databases.register("oracle", code="o", position=Number, driver=driver, reader=reader)
    assert databases.has_positions("oracle")
    assert databases.get_driver(connection("oracle")) is driver
    assert databases.get_reader(connection("oracle")) is reader
    assert databases.encode(Number(7)) == "o7"
    assert databases.decode("o7") == Number(7)


class OracleErrors(ErrorCodes):
    """Those that this test knows of."""

    def loss(self, error, *, closed):
        return Loss.CONNECTION if "ORA-03113" in str(error) else None

    def is_unsupported(self, error):
        return "ORA-08178" in str(error)

    def is_refused_write(self, error):
        return "ORA-16000" in str(error)


def test_a_registered_product_says_what_its_errors_mean():
    lost, refused = OperationalError("ORA-03113: end-of-file"), OperationalError("ORA-16000: read-only")
    assert errors.loss(lost, "oracle") is None
    databases.register("oracle", code="o", position=Number, driver=object(), error_codes=OracleErrors())
    assert errors.loss(lost, "oracle") is Loss.CONNECTION
    assert errors.loss(refused, "oracle") is None
    assert errors.is_refused_write(refused, "oracle")
    assert not errors.is_refusal(refused, "oracle")
    unsupported = OperationalError("ORA-08178: illegal SERIALIZABLE clause")
    assert errors.is_unsupported(unsupported, "oracle")
    assert not errors.is_unsupported(unsupported, "postgresql")
    assert errors.may_have_written(lost, "oracle")  # What is not known is answered on the safe side.


def test_a_product_may_be_replaced():
    driver = object()
    databases.register("postgresql", code="p", position=Number, driver=driver)
    assert databases.get_driver(connection("postgresql")) is driver
    assert databases.decode("p7") == Number(7)


def test_two_products_may_share_a_kind_of_position():
    databases.register("oracle", code="m", position=MariaDBPosition, driver=object())
    assert databases.decode("m0-1-5") == MariaDBPosition({0: (1, 5)})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("p", r"code 'p' marks positions of 'postgresql' already: give 'oracle' another"),
        ("", r"code is '', and must be one letter"),
        ("or", r"code is 'or', and must be one letter"),
        ("7", r"code is '7', and must be one letter"),
        ("é", r"code is 'é', and must be one letter"),
    ],
)
def test_a_letter_marks_one_kind_of_position(code, message):
    with pytest.raises(ValueError, match=message):
        databases.register("oracle", code=code, position=Number, driver=object())
    assert not databases.has_positions("oracle")
