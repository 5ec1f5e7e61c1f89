"""The benchmark compares like with like. How fast anything is, is not tested."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOAD = Path(__file__).parents[1] / "load"
TIMEOUT_S = 300

BUSY = "while True: pass"
WATCH = """
import time, machine
watch = machine.Watch([__import__("os").getpid()])
time.sleep(2)
print(watch.complaints())"""


def run(*arguments: str | Path) -> str:
    """Return what Python prints; it finds the modules of the benchmark."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(LOAD)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_peers_answer_and_write_as_the_service_does() -> None:
    """Those whose packages are installed, and pgbench with the statements of 0.1.0."""
    printed = run(LOAD / "bench.py", "--check")
    assert "bare: answers and writes as rowlock does" in printed


def test_latency_counts_from_when_a_request_was_due() -> None:
    """A server that pauses for 1.5 of 2 s delays all that were due meanwhile, sent or not."""
    with Server(("127.0.0.1", 0), Pausing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_port)
        measured: dict[str, Any] = json.loads(run(LOAD / "open_loop.py", port, "50", "2", "9", "9"))
        server.shutdown()
    assert measured["succeeded"] == 100
    assert measured["p50_ms"] > 300
    assert measured["p99_ms"] > 1200


class Server(ThreadingHTTPServer):
    """Takes all the connections of a client at once."""

    request_queue_size = 512


class Pausing(BaseHTTPRequestHandler):
    """Answers orders one at a time; the first of all takes 1.5 s."""

    protocol_version = "HTTP/1.1"
    turn = threading.Lock()
    paused = False

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.turn:
            if not Pausing.paused:
                Pausing.paused = True
                time.sleep(1.5)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_busy_machine_is_noticed() -> None:
    """Another process that computes all the time is found in the accounts of the machine."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as other:
        try:
            assert "other processes used" in run("-c", WATCH)
        finally:
            other.kill()


def test_short_run_gives_no_verdict() -> None:
    """Without goals nothing is reached, and nothing missed."""
    program = (
        "import rows; print([r.without_goals().is_reached('pgbench', 9) for r in rows.rows(0)])"
    )
    assert set(run("-c", program)) <= set("[None, ]\n")
