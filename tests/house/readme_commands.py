"""Runs the commands that README.md promises, from the root: they start, answer a request, and end on SIGTERM.

Needs the release build (`make fixture`), or makes it. `cargo run` replaces itself by the program it runs, so the signal
reaches that one.

usage: python3 tests/house/readme_commands.py
"""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVE = "cargo run --release -- serve"
FIXTURE = "cargo run --release --example conformance"
START_SECONDS = 600  # both may have to be compiled first
STOP_SECONDS = 10


class Command:
    """A command that runs while its block does."""

    def __init__(self, command, **environment):
        self.output = ""
        self.process = subprocess.Popen(
            command.split(),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()

    def wait_for(self, pattern):
        """Reads the output until `pattern` is in it; returns the match."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            found = re.search(pattern, self.output)
            if found:
                return found
            rest = deadline - time.monotonic()
            if rest <= 0 or not select.select([self.process.stdout], [], [], rest)[0]:
                raise AssertionError(f"no {pattern!r} within {START_SECONDS} s:\n{self.output}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise AssertionError(f"ended before {pattern!r}:\n{self.output}")
            self.output += data.decode(errors="replace")

    def terminate(self):
        """Sends SIGTERM and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self.process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {STOP_SECONDS} s after SIGTERM:\n{self.output}") from None
        self.output += rest.decode(errors="replace")
        return self.process.returncode


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.headers.get_content_type(), answer.read()


class Readme(unittest.TestCase):
    def test_the_readme_names_them(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        commands = [line.split(" #")[0].strip() for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
                    for line in block.splitlines()]
        self.assertEqual([c for c in commands if c in (SERVE, "make test")], [SERVE, "make test"])

    def test_serve(self):
        with Command(f"{SERVE} --port 0") as server:
            # With `--port 0` the link carries the port that the system chose.
            link = server.wait_for(r"http://(?:127\.0\.0\.1|localhost):(\d+)")
            self.assertNotEqual(link[1], "0")
            status, kind, body = get(f"http://127.0.0.1:{link[1]}/")
            self.assertEqual((status, kind), (200, "text/html"))
            self.assertIn(b"<html", body.lower())
            # Engine.IO: the open packet announces the upgrade.
            status, _, body = get(f"http://127.0.0.1:{link[1]}/socket.io/?EIO=4&transport=polling")
            self.assertEqual((status, body[:1]), (200, b"0"))
            self.assertIn(b'"upgrades":["websocket"]', body)
            self.assertEqual(server.terminate(), 0, server.output)

    def test_conformance(self):
        port = free_port()
        with Command(FIXTURE, FIXTURE_PORT=str(port)) as fixture:
            fixture.wait_for(rf"READY {port}\b")
            self.assertEqual(get(f"http://127.0.0.1:{port}/fixture/health"), (200, "text/plain", b"ok"))
            with self.assertRaises(urllib.error.HTTPError) as refusal:
                get(f"http://127.0.0.1:{port}/elsewhere")
            self.assertEqual(refusal.exception.code, 404)
            refusal.exception.close()
            self.assertEqual(fixture.terminate(), 0, fixture.output)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
