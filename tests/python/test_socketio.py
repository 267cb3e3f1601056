"""python-socketio, threaded client, against the conformance server."""

import queue
import threading
import time

import pytest
import socketio

from fixture import Fixture, wait_for

MODES = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}


@pytest.fixture(params=MODES, ids=list(MODES))
def mode(request):
    return request.param


class Client:
    """A client whose events are gathered in a queue per name."""

    def __init__(self, server, mode="websocket", namespace="/", auth=None, **options):
        self.namespace = namespace
        self.sio = socketio.Client(reconnection=False, **options)
        self.events = queue.Queue()
        self.sio.on("*", self._event, namespace=namespace)
        self.disconnected = threading.Event()
        self.sio.on("disconnect", lambda *_: self.disconnected.set(), namespace=namespace)
        self.server = server
        self.mode = mode
        self.auth = auth

    def _event(self, name, *args):
        self.events.put((name, *args))

    def connect(self):
        self.sio.connect(
            self.server.url,
            transports=MODES[self.mode],
            namespaces=[self.namespace],
            auth=self.auth,
            wait_timeout=5,
        )
        return self

    def emit(self, event, *args):
        self.sio.emit(event, args, namespace=self.namespace)

    def call(self, event, *args):
        return self.sio.call(event, args, namespace=self.namespace, timeout=5)

    def next(self):
        return self.events.get(timeout=5)

    @property
    def sid(self):
        return self.sio.get_sid(self.namespace)


@pytest.fixture
def connect(server):
    clients = []

    def make(*args, on=None, **options):
        client = Client(on or server, *args, **options)
        clients.append(client)
        return client.connect()

    yield make
    for client in clients:
        client.sio.disconnect()
    server.settle()


VALUES = [None, True, 0, -1.5, "", "ünï 😀 \u2028", [], {}, [1, [2, {"three": None}]], "x" * 50000]


def test_connect_and_whoami(connect, mode):
    client = connect(mode, auth={"token": "t"})
    me = client.call("whoami")
    assert me["id"] == client.sid
    assert me["auth"] == {"token": "t"}
    assert me["protocol"] == 4
    assert me["transport"] == ("polling" if mode == "polling" else "websocket")
    assert me["rooms"] == [client.sid]


def test_events_and_acks(connect, mode):
    client = connect(mode)
    for value in VALUES:
        assert client.call("echo", value) == value
    assert client.call("echo", 1, "two", [3]) == (1, "two", [3])
    client.emit("echo", "a", {"b": 1})
    assert client.next() == ("echo-back", "a", {"b": 1})
    client.emit("emit-back", "named", 1)
    assert client.next() == ("named", 1)


def test_binary(connect, mode):
    client = connect(mode)
    data = bytes(range(256))
    for value in (data, b"", {"deep": [data, {"b": b"\x00"}]}, data * 200):
        assert client.call("echo", value) == value
    assert client.call("inspect", data, {"b": b""}) == [
        {"bin": 256, "sum": sum(data)},
        {"b": {"bin": 0, "sum": 0}},
    ]
    assert client.call("blob", 1000) == bytes(i % 251 for i in range(1000))


def test_the_server_asks(connect, mode):
    client = connect(mode)
    client.sio.on("question", lambda *args: (args[1], args[0]))
    client.sio.on("binary question", lambda data: data[::-1])
    client.emit("call-me", 5000, "question", 1, {"x": b"ab"})
    assert client.next() == ("call-result", {"ok": True, "args": [{"x": b"ab"}, 1]})
    client.emit("call-me", 5000, "binary question", b"abc")
    assert client.next() == ("call-result", {"ok": True, "args": [b"cba"]})


def test_a_question_without_answer_times_out(connect):
    client = connect()
    client.sio.on("slow", lambda: time.sleep(0.4))
    client.emit("call-me", 100, "slow")
    assert client.next() == ("call-result", {"ok": False, "error": "timeout"})


def test_nothing_is_lost_or_doubled(connect, mode):
    # This client runs every event in a thread of its own; its order is for the asyncio client to see.
    client = connect(mode)
    for i in range(100):
        client.emit("echo", i)
    assert sorted(client.next()[1] for _ in range(100)) == list(range(100))
    assert client.call("burst", 500, 20) == 500
    assert sorted(client.next()[1] for _ in range(500)) == list(range(500))
    assert client.events.empty()


def test_namespaces(server, connect, mode):
    for namespace in ("/custom", "/dyn-12"):
        client = connect(mode, namespace=namespace)
        assert client.call("whoami")["nsp"] == namespace


def test_two_namespaces_on_one_connection(server, connect):
    sio = socketio.Client(reconnection=False)
    sio.connect(server.url, transports=["websocket"], namespaces=["/", "/custom"])
    assert sio.call("echo", 1) == 1
    assert sio.call("echo", 2, namespace="/custom") == 2
    assert sio.get_sid("/") != sio.get_sid("/custom")
    sio.disconnect()


@pytest.mark.parametrize("namespace, message", [("/nope", "Invalid namespace"), ("/auth", "unauthorized")])
def test_refusals(server, mode, namespace, message):
    client = Client(server, mode, namespace, auth={"token": "wrong"})
    errors = queue.Queue()
    client.sio.on("connect_error", errors.put, namespace=namespace)
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect()
    error = errors.get(timeout=5)
    assert error["message"] == message
    if namespace == "/auth":
        assert error["data"] == {"code": 401, "token": "wrong"}
    client.sio.disconnect()


def test_auth_accepts_the_token(connect, mode):
    client = connect(mode, namespace="/auth", auth={"token": "secret", "user": "ann"})
    assert client.call("whoami")["auth"]["user"] == "ann"


def test_auth_as_a_function(connect):
    client = connect(namespace="/auth", auth=lambda: {"token": "secret"})
    assert client.call("echo", 1) == 1


def test_rooms_and_broadcasts(connect, mode):
    a, b, c = (connect(m) for m in (mode, "websocket", "polling"))
    assert a.call("join", "red") == sorted([a.sid, "red"])
    assert b.call("join", ["red", "blue"]) == sorted([b.sid, "red", "blue"])
    assert a.call("to", ["red"], [], "hello", [1, b"x"]) == "sent"
    assert b.next() == ("hello", 1, b"x")
    assert b.call("in", [], ["blue"], "bye", []) == "sent"
    assert a.next() == ("bye",)
    assert c.next() == ("bye",)
    assert b.call("leave", "red") == sorted([b.sid, "blue"])
    a.emit("broadcast", {"all": True})
    for client in (a, b, c):
        assert client.next() == ("broadcast", {"all": True})
        assert client.events.empty()


def test_broadcast_call(connect):
    clients = [connect(m) for m in MODES]
    for i, client in enumerate(clients):
        client.sio.on("q", lambda x, i=i: x + i)
    answer = clients[0].call("broadcast-call", [], 3000, "q", [10])
    assert answer["timeout"] is False
    assert sorted(answer["responses"]) == [10, 11, 12]


def test_the_server_disconnects(start, mode):
    server = start()
    client = Client(server, mode).connect()
    client.emit("bye", True)
    assert client.disconnected.wait(5)
    # A server may hold the polling session for a last poll, which this client never makes.
    server.settle(sockets=0)


def test_volatile(connect, mode):
    client = connect(mode)
    client.emit("volatile", 50, 10)
    got = [client.next()]
    while got[-1][0] != "v-end":
        got.append(client.next())
    numbers = [i for name, i, *_ in got if name == "v"]
    assert len(numbers) == len(set(numbers)) and set(numbers) <= set(range(50))


def test_heartbeats_in_every_mode(start, mode):
    server = start(ping_interval=150, ping_timeout=300)
    client = Client(server, mode).connect()
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        assert client.call("echo", 1) == 1
        time.sleep(0.1)
    client.sio.disconnect()
    server.settle()


def test_msgpack(start, mode):
    server = start(parser="msgpack")
    client = Client(server, mode, serializer="msgpack").connect()
    assert client.call("echo", {"a": [1, b"bin", None]}) == {"a": [1, b"bin", None]}
    client.sio.disconnect()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], None])
def test_reconnects_after_a_drop_and_after_a_restart(transports):
    server = Fixture()
    sio = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2, randomization_factor=0)
    connected = queue.Queue()
    sio.on("connect", lambda: connected.put(sio.get_sid()))
    sio.connect(server.url, transports=transports)
    first = connected.get(timeout=5)
    # In polling this client takes the close packet for its own wish, and stays away.
    if transports != ["polling"]:
        sio.emit("drop")
        assert connected.get(timeout=10) != first
    assert sio.call("echo", "back") == "back"
    server.stop(kill=True)
    server = Fixture(port=server.port)
    connected.get(timeout=15)
    assert sio.call("echo", "again") == "again"
    sio.disconnect()
    server.settle()
    assert server.stop() == 0


def test_many_threads(connect):
    clients = [connect(m) for m in ("polling", "websocket", "upgrade", "websocket")]
    failures = []

    def work(client, number):
        for i in range(50):
            if client.call("echo", [number, i]) != [number, i]:
                failures.append((number, i))

    threads = [threading.Thread(target=work, args=(c, n)) for n, c in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


def test_sigterm_with_clients(start):
    server = start()
    clients = [Client(server, m).connect() for m in MODES]
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5
    for client in clients:
        wait_for(client.disconnected.is_set, "the disconnect")
