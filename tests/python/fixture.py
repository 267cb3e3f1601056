"""Starts the conformance server (FIXTURE_BIN) as a fresh process and ends it by its id."""

import atexit
import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = os.environ.get("FIXTURE_BIN", str(ROOT / "target/release/examples/conformance"))


def wait_for(condition, what, seconds=5.0, explain=lambda: ""):
    """Polls `condition` until it is true; fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except OSError as error:
            value, last = None, error
        else:
            last = value
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting for {what}; last: {last!r} {explain()}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Fixture:
    def __init__(self, port=None, **options):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        env = {k: v for k, v in os.environ.items() if not k.startswith("FIXTURE_")}
        env["FIXTURE_PORT"] = str(self.port)
        env.update({f"FIXTURE_{k.upper()}": str(v) for k, v in options.items()})
        self.process = subprocess.Popen([BIN], env=env, stdout=subprocess.DEVNULL)
        # Whatever a test does, no server outlives the tests.
        atexit.register(self.process.kill)
        wait_for(lambda: self.get("/fixture/health") == "ok", "the server", 10)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return answer.read().decode()

    def settle(self, **expected):
        """Waits until the gauges have these values; without any: all are zero."""
        expected = expected or {"engineSessions": 0, "sockets": 0, "rooms": 0}

        def settled():
            stats = json.loads(self.get("/fixture/stats"))
            return all(stats[k] == v for k, v in expected.items())

        wait_for(settled, f"stats {expected}", 8, lambda: self.get('/fixture/stats'))

    def stop(self, kill=False):
        if self.process.poll() is None:
            (self.process.kill if kill else self.process.terminate)()
        return self.process.wait(timeout=6)
