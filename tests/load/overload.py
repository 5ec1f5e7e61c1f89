"""Far more load than the service can carry: `python tests/load/overload.py [--seconds N]`.

First what it can carry, with 256 connections; then the same from forty times as many, each of which
sends again as soon as it is answered. Meanwhile one more client sends a request now and then, on a
connection it keeps, and tells how long it takes to be answered and to be refused.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from harness import CONNECTIONS, HERE, Server, free_port, postgres, serving
from tools import parse_wrk

ROWLOCK = Path(sys.executable).parent / "rowlock"
USERS = 1000
CARRIED_S = 5
PROBE_S = 0.05
TIMEOUT_S = 60
RECOVERY_S = 10.0

Sample = tuple[float, float, int]  # when, seconds it took, HTTP status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=40 * CONNECTIONS)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres(folder / "data"))
        database.connection.execute(
            "INSERT INTO users (username) SELECT 'u' || n FROM generate_series(1, %s) AS n", [USERS]
        )
        port = free_port()
        environment = {
            "ROWLOCK_DATABASE_URL": database.url,
            "ROWLOCK_COMMERCE_PORT": str(port),
            "ROWLOCK_LOG_REQUESTS": "0",
            "ROWLOCK_CONNECTIONS": "1000000",
        }
        command = (ROWLOCK, "serve", "commerce")
        server = stack.enter_context(
            serving("rowlock", command, port=port, environment=environment, log=folder / "log")
        )
        show(f"carried, {CONNECTIONS} connections", server, CONNECTIONS, CARRIED_S)
        calm = server.read_rss()
        ended = show(
            f"overload, {arguments.connections} connections",
            server,
            arguments.connections,
            arguments.seconds,
        )
        print(f"memory: {calm / 1e6:.0f} MB before, by thirds of the overload {thirds(server.rss)}")
        show_recovery(server, ended)


def show(what: str, server: Server, connections: int, seconds: int) -> float:
    """Put the load on, and print what came of it; return when it ended."""
    samples: list[Sample] = []
    stop = threading.Event()
    prober = threading.Thread(target=probe, args=(server.port, samples, stop))
    prober.start()
    wrk = subprocess.Popen(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{TIMEOUT_S}s"),
            *("--latency", "-s", HERE / "wrk" / "invoices.lua", server.url, "--", "1", str(USERS)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    server.rss.clear()
    while wrk.poll() is None:
        server.sample_rss()
        time.sleep(PROBE_S)
    ended = time.monotonic()
    stop.set()
    prober.join()
    assert wrk.stdout is not None
    measured = parse_wrk(wrk.stdout.read())
    print(
        f"{what}: {measured.succeeded / seconds:,.0f}/s accepted, "
        f"{measured.refused / seconds:,.0f}/s refused, {measured.socket_errors} socket errors"
    )
    for name, statuses in (("accepted", {201}), ("refused (503)", {503})):
        took = sorted(took for _, took, status in samples if status in statuses)
        if took:
            print(f"  {name}: p50 {took[len(took) // 2]:.3f} s, longest {took[-1]:.3f} s")
    others = {status for _, _, status in samples} - {201, 503}
    assert not others, others
    return ended


def probe(port: int, samples: list[Sample], stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    while not stop.is_set():
        samples.append(ask(connection))
        stop.wait(PROBE_S)


def ask(connection: http.client.HTTPConnection) -> Sample:
    invoice = json.dumps({"user_id": 1, "amount": 1, "label": "Probe"})
    started = time.monotonic()
    connection.request("POST", "/invoices", invoice, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    assert response.status != http.HTTPStatus.SERVICE_UNAVAILABLE or response.headers["Retry-After"]
    return started, time.monotonic() - started, response.status


def show_recovery(server: Server, ended: float) -> None:
    """Print how soon after the load a request takes no longer than it does on an idle service."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    samples: list[Sample] = []
    while time.monotonic() < ended + RECOVERY_S:
        samples.append(ask(connection))
        time.sleep(PROBE_S)
    usual = statistics.median(took for _, took, _ in samples[-50:])
    slow = [
        at for at, took, status in samples if took > 5 * usual or status != http.HTTPStatus.CREATED
    ]
    back = max(slow, default=ended) - ended
    print(f"after it: {usual * 1000:.1f} ms a request again, {back:.1f} s after the load ended")


def thirds(rss: list[int]) -> str:
    size = len(rss) // 3
    parts = [rss[start : start + size] for start in (0, size, 2 * size)]
    return ", ".join(f"{max(part) / 1e6:.0f}" for part in parts) + " MB at most"


if __name__ == "__main__":
    main()
