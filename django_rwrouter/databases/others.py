"""Oracle and SQL Server: products of which nothing but the name is known."""

from __future__ import annotations

from django_rwrouter.databases.base import Product


class Oracle(Product):
    """Oracle Database."""

    name = "oracle"
    system = "oracle.db"


class SQLServer(Product):
    """Microsoft SQL Server, by the backend ``mssql``."""

    name = "microsoft"
    system = "microsoft.sql_server"
