"""python-socketio's asyncio client, and plain WebSocket clients on the native route."""

import asyncio

import pytest
import socketio
import websockets
import websockets.sync.client


def test_asyncio_clients(server):
    async def one(number, transports):
        sio = socketio.AsyncClient(reconnection=False)
        got = asyncio.Queue()
        sio.on("*", lambda *event: got.put_nowait(event))
        await sio.connect(server.url, transports=transports)
        for i in range(20):
            assert await sio.call("echo", ([number, i], b"bin"), timeout=5) == ([number, i], b"bin")
        await sio.call("join", "async", timeout=5)
        await sio.emit("in", (["async"], [], "hello", [number]))
        seen = set()
        while ("hello", number) not in seen:
            seen.add(await asyncio.wait_for(got.get(), 5))
        await sio.disconnect()

    async def all_of_them():
        modes = [["polling"], ["websocket"], None]
        await asyncio.gather(*(one(i, modes[i % 3]) for i in range(12)))

    asyncio.run(all_of_them())
    server.settle()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], None])
def test_order(server, transports):
    async def run():
        sio = socketio.AsyncClient(reconnection=False)
        seen = []
        sio.on("*", lambda name, *args: seen.append((name, args[0])))
        await sio.connect(server.url, transports=transports)
        for i in range(200):
            await sio.emit("echo", i)
        assert await sio.call("burst", (300, 10), timeout=5) == 300
        assert seen == [("echo-back", i) for i in range(200)] + [("b", i) for i in range(300)]
        await sio.disconnect()

    asyncio.run(run())
    server.settle()


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_websockets_package_on_the_plain_route(server, compression):
    url = f"ws://127.0.0.1:{server.port}/ws-echo"
    with websockets.sync.client.connect(url, compression=compression, max_size=None) as ws:
        assert bool(ws.protocol.extensions) == (compression is not None)
        for message in ("", "text ü", b"", bytes(range(256)), "x" * 200000, b"y" * 200000):
            ws.send(message)
            assert ws.recv(timeout=5) == message
        ws.send(["frag", "men", "ted"])
        assert ws.recv(timeout=5) == "fragmented"
        assert ws.ping().wait(5)
    assert ws.close_code == 1000


def test_websockets_package_speaks_engine_io(server):
    url = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
    with websockets.sync.client.connect(url) as ws:
        assert ws.recv(timeout=5).startswith('0{"sid":"')
        ws.send("40")
        assert ws.recv(timeout=5).startswith('40{"sid":"')
        ws.send('421["echo",1]')
        assert ws.recv(timeout=5) == "431[1]"
    server.settle()
