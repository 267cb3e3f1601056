import pytest
from engineio.payload import Payload

from fixture import Fixture

# By default this client gives up on a poll that brings more than 16 packets.
Payload.max_decode_packets = 10000


@pytest.fixture(scope="session")
def server():
    fixture = Fixture()
    yield fixture
    try:
        fixture.settle()
    finally:
        assert fixture.stop() == 0


@pytest.fixture
def start():
    """Starts servers with options of their own; all are stopped at the end of the test."""
    running = []

    def launch(**options):
        running.append(Fixture(**options))
        return running[-1]

    yield launch
    for fixture in running:
        fixture.stop()
