"""toxiproxy-python against `brownout proxy`: proxies, every toxic, and what the bytes feel."""

import socket
import sys
import threading
import time

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists


def echo_server():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client):
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
            except OSError:
                pass

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1]


def connect(proxy):
    host, port = proxy.listen.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=5)


def round_trip(client, data=b"hello"):
    start = time.monotonic()
    client.sendall(data)
    got = b""
    while len(got) < len(data):
        more = client.recv(65536)
        if not more:
            raise ConnectionError("closed after %r" % got)
        got += more
    assert got == data, got
    return time.monotonic() - start


def raises(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError("%s was expected" % kind)


def latency(client):
    assert round_trip(client) >= 0.1


def bandwidth(client):
    assert round_trip(client, b"x" * 10_000) >= 0.09


def slow_close(client):
    round_trip(client)
    start = time.monotonic()
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b"" and time.monotonic() - start >= 0.1


def timeout(client):
    client.sendall(b"lost")
    assert client.recv(1) == b""


def read_all(client):
    got = b""
    while more := client.recv(65536):
        got += more
    return got


def reset_peer(client):
    client.sendall(b"x")
    raises(ConnectionResetError, read_all, client)


def slicer(client):
    assert round_trip(client, b"x" * 1000) >= 0.04


def limit_data(client):
    client.sendall(b"0123456789")
    assert read_all(client) == b"01234"


def packet_loss(client):
    client.settimeout(0.2)
    client.sendall(b"lost")
    raises(TimeoutError, client.recv, 1)


TOXICS = [
    (latency, {"latency": 100, "jitter": 0}),
    (bandwidth, {"rate": 100}),
    (slow_close, {"delay": 100}),
    (timeout, {"timeout": 100}),
    (reset_peer, {"timeout": 50}),
    (slicer, {"average_size": 100, "size_variation": 0, "delay": 5000}),
    (limit_data, {"bytes": 5}),
    (packet_loss, {"loss_rate": 1.0, "correlation": 0.0}),
]


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    server = Toxiproxy()
    server.update_api_consumer(host, int(port))
    upstream = echo_server()

    assert server.running() and b'"version": "2.' in server.version()
    assert server.proxies() == {}
    web = server.create(upstream=upstream, name="web")
    assert web.enabled and not web.listen.endswith(":0"), web.listen
    raises(ProxyExists, server.create, upstream=upstream, name="web")
    idle = server.create(upstream=upstream, name="idle", listen="127.0.0.1:0", enabled=False)
    assert not idle.enabled and idle.listen == "127.0.0.1:0"
    assert sorted(server.proxies()) == ["idle", "web"]
    assert server.get_proxy("nobody") is None

    with connect(web) as client:
        round_trip(client)
        with web.down():
            assert client.recv(1) == b"", "open connections end"
            raises(ConnectionRefusedError, connect, web)
    with connect(web) as client:
        round_trip(client)

    for behaves, attributes in TOXICS:
        kind = behaves.__name__
        web.add_toxic(type=kind, attributes=attributes)
        toxic = web.get_toxic(kind + "_downstream")
        assert (toxic.type, toxic.stream, toxic.toxicity) == (kind, "downstream", 1), vars(toxic)
        assert toxic.attributes == attributes, toxic.attributes
        raises(ProxyExists, web.add_toxic, type=kind)
        with connect(web) as client:
            behaves(client)
        assert web.destroy_toxic(toxic.name)
        assert web.toxics() == {}
        with connect(web) as client:
            assert round_trip(client) < 0.09, kind

    web.add_toxic(type="latency", stream="upstream", name="own", toxicity=0.0, attributes={"latency": 500})
    assert web.get_toxic("own").toxicity == 0
    with connect(web) as client:
        assert round_trip(client) < 0.4, "a toxicity of 0 concerns nobody"
    raises(InvalidToxic, web.add_toxic, type="nonsense")
    raises(NotFound, web.destroy_toxic, "nobody")

    assert server.reset()
    assert web.toxics() == {} and server.get_proxy("idle").enabled
    made = server.populate([{"name": "web", "upstream": upstream, "listen": "127.0.0.1:0"},
                            {"name": "new", "upstream": upstream, "listen": "127.0.0.1:0"}])
    assert [proxy.name for proxy in made] == ["web", "new"]
    server.destroy_all()
    assert server.proxies() == {}


main()
