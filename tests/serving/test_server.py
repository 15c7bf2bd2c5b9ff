"""The serving process: what it does with clients that send nothing, and how it ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import uvicorn

from dann_transfer.serving.http import Limits, create_app
from dann_transfer.serving.server import IDLE_SECONDS, SHUTDOWN_SECONDS, Server, serve

BODY = json.dumps({"texts": ["good"]}).encode()


def head(length: int) -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % length
    )


class Slow:
    """A model whose pass takes a while."""

    def __init__(self, fitted, seconds: float) -> None:
        self.fitted, self.seconds = fitted, seconds

    def predict_proba(self, texts: list[str], domain: list[str]) -> np.ndarray:
        time.sleep(self.seconds)
        return self.fitted.predict_proba(texts, domain)

    def __getattr__(self, name):
        return getattr(self.fitted, name)


@contextmanager
def serving(adapter, limits: Limits, idle_seconds: float = 60) -> Iterator[tuple[Server, int]]:
    """Run a server in a thread, and give it and its port; at the end it has ended."""
    app = create_app(adapter, limits)
    config = uvicorn.Config(app, port=0, log_level="error", http="h11", ws="none")
    server = Server(config, idle_seconds)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(sent)
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    connection.close()
    return b"".join(parts)


@pytest.mark.parametrize("sent", [b"", BODY[:5]])
def test_a_body_that_does_not_come_is_refused(fitted, sent):
    with serving(fitted, Limits(body_seconds=0.3)) as (_, port):
        got = answer(connect(port, head(len(BODY)) + sent))
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not come within 0.3 seconds" in got


def test_a_body_that_trickles_is_refused(fitted):
    with serving(fitted, Limits(body_seconds=0.5)) as (_, port):
        connection = connect(port, head(1000))
        connection.settimeout(0.05)
        end, got = time.monotonic() + 20, b""
        while not got and time.monotonic() < end:
            connection.sendall(b" ")
            with suppress(TimeoutError):
                got = connection.recv(65536)
        connection.close()
    assert got.startswith(b"HTTP/1.1 408 ")


def test_the_time_for_a_body_does_not_count_the_model_s(fitted):
    with serving(Slow(fitted, 0.8), Limits(body_seconds=0.4)) as (_, port):
        connection = connect(port, head(len(BODY)) + BODY)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.close()


# Nothing; a part of the headers; an answered request and a part of the next.
@pytest.mark.parametrize("sent", [b"", b"POST /pre", b"GET /health HTTP/1.1\r\nhost: a\r\n\r\nGET"])
def test_an_idle_connection_is_closed(fitted, sent):
    with serving(fitted, Limits(), idle_seconds=0.3) as (server, port):
        got = answer(connect(port, sent))
        assert bool(got) == sent.startswith(b"GET")
        time.sleep(0.3)
        assert not server.idle, "closed connections are forgotten"


def test_a_connection_in_use_stays_open(fitted):
    with serving(fitted, Limits(), idle_seconds=0.5) as (_, port):
        connection = connect(port)
        for _ in range(6):
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            got = b""
            while not got.endswith(b"}"):
                part = connection.recv(65536)
                assert part, "it was closed"
                got += part
            assert got.startswith(b"HTTP/1.1 200 ")
            time.sleep(0.25)
        connection.close()


def test_at_the_end_requests_that_have_come_are_answered_and_others_do_not_hold_it(fitted):
    adapter, limits = Slow(fitted, 0.3), Limits(batch=1, body_seconds=1)
    with serving(adapter, limits) as (server, port):
        silent = [connect(port), connect(port, b"POST"), connect(port, head(len(BODY)))]
        asked = [connect(port, head(len(BODY)) + BODY) for _ in range(5)]
        while len(server.server_state.tasks) < 6:
            time.sleep(0.01)
        started = time.monotonic()
        server.should_exit = True
        answers = [answer(connection) for connection in asked]
        assert all(got.startswith(b"HTTP/1.1 200 ") for got in answers)
        assert [answer(connection)[:13] for connection in silent] == [b"", b"", b"HTTP/1.1 408 "]
    assert time.monotonic() - started < 10


def test_the_command_s_server_has_all_bounds(fitted, monkeypatch):
    servers = []
    # A function, unlike a method of a list, is bound to the server that it is called on.
    monkeypatch.setattr(Server, "run", lambda server: servers.append(server))
    serve(create_app(fitted), port=0)
    (server,) = servers
    assert server.config.timeout_graceful_shutdown == SHUTDOWN_SECONDS
    assert server.idle_seconds == IDLE_SECONDS
    # A proxy or an orchestrator often waits half a minute before it kills.
    assert max(IDLE_SECONDS, Limits().body_seconds) < 30
