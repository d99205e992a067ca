"""A client that asks as Django's asynchronous one does, and is used like the other."""

from asgiref.sync import async_to_sync
from django.test import AsyncClient


class Asynchronous:
    """Django's asynchronous client, whose requests are run to their end."""

    def __init__(self):
        client = AsyncClient()
        self.cookies = client.cookies
        self.get = async_to_sync(client.get)
        self.post = async_to_sync(client.post)
