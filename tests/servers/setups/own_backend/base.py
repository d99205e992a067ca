"""Django's backend for PostgreSQL, with a password that is asked for when a connection is made."""

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """The settings hold the password backwards."""

    def get_connection_params(self):
        parameters = super().get_connection_params()
        return {**parameters, "password": parameters["password"][::-1]}
