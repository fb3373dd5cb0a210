"""With gevent's monkey patching, a thread is a greenlet: idle connections cost no thread at all."""

import subprocess
import sys

import pytest

from tests.support.process import environment

pytest.importorskip("gevent")

PROGRAM = """
from gevent import monkey; monkey.patch_all()

import threading
from pathlib import Path

from trunkline.sync.client import connect
from trunkline.sync.server import serve

def echo(websocket):
    for message in websocket:
        websocket.send(message)

with serve(echo, "127.0.0.1", 0) as server:
    threading.Thread(target=server.serve_forever).start()
    uri = "ws://127.0.0.1:%d" % server.socket.getsockname()[1]
    clients = [connect(uri, legacy=True) for _ in range(50)]
    for client in clients:
        client.send("tea")
    print([client.recv() for client in clients] == ["tea"] * 50, clients[0].ping().wait(10))
    status = Path("/proc/self/status")
    if status.exists():
        [threads] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("Threads:")]
        assert int(threads) < 10, threads
    for client in clients:
        client.close()
print("done")
"""


def test_a_process_with_gevent() -> None:
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert (result.stdout, result.stderr) == ("True True\ndone\n", "")
