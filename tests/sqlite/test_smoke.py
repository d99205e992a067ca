import pytest

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.mark.parametrize("url", ["/books/", "/async/books/"])
def test_a_client_sees_what_it_wrote_and_others_read_replicas(client, routed, url):
    client.get(url)
    assert routed.pop().alias.startswith("replica")
    assert client.post(url, {"title": "x"}).content == b"x"
    assert client.get(url).content == b"x"
    client.cookies.clear()
    assert client.get(url).content == b""
