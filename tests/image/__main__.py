"""`make image-check`: builds the image, runs the compose file's services, and uses them.

It says what it skips, and why, where there is no engine for containers. It exits with 1 if the
image is too large, or a service does not start, answer, restart or stop as it should. Containers,
volumes, and an engine that it has started itself, end with it.
"""

import os
import secrets
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.ha.folder import run_folder
from tests.image import base, compose, pip, stack
from tests.image.engine import Engine, Failed, Unavailable, engine
from tests.support.documents import ROOT
from tests.support.polling import until_true

BASE = "python:3.13-slim"
IMAGE = "rowlock-check"
ABOVE_BASE_MB = 120  # without the embedded PostgreSQL
FREE_BYTES = 8_000_000_000  # without overlays each layer is a copy of all that is below it
BUILD_TIMEOUT_S = 420.0
EVENT_TIMEOUT_S = 30.0


def main() -> int:
    """Check the image, or say why not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with run_folder() as folder:
        try:
            with engine(folder, FREE_BYTES) as found:
                check(found, folder)
        except Unavailable as error:
            print(f"make image-check is skipped: {error}.")
        except Failed as error:
            print(f"failed: {error}")
            return 1
    return 0


def check(found: Engine, folder: Path) -> None:
    """Build the image and use it. Raises Failed, and Unavailable."""
    began = time.monotonic()
    name, what = base.find(found, os.environ.get("BASE_IMAGE", BASE))
    say(began, f"The base is {what}.")
    build(found, name, folder)
    above_mb = (size(found, IMAGE) - size(found, name)) / 1e6
    say(began, f"The image is {above_mb:.1f} MB above its base; {ABOVE_BASE_MB} are allowed.")
    if above_mb > ABOVE_BASE_MB:
        raise Failed("the image is too large")
    tokens = {each: secrets.token_hex(24) for each in compose.variables()}
    services = compose.services(tokens)
    with ExitStack() as context:
        if found.works("compose", "version"):
            way = stack.by_compose(found, services, IMAGE, tokens, folder)
        else:
            way = stack.by_run(found, services, IMAGE, name)
        running = context.enter_context(way)
        say(began, f"Ready: {', '.join(each.name for each in running.lasting)}.")
        buy(running, tokens, "netflix")
        say(began, "An order was placed, and its event is read.")
        for service in running.lasting:
            took_s = running.stop(service)
            running.start(service)
            say(began, f"{service.name} stopped in {took_s:.1f} s, and is ready again.")
        buy(running, tokens, "spotify")
        say(began, "Another order was placed, and its event is read.")
        for service in reversed(running.lasting):
            running.stop(service)
        say(began, "All have stopped.")


def build(found: Engine, name: str, folder: Path) -> None:
    """Build the image on a base, with this machine's settings of pip, which stay out of it."""
    found.run(
        *("build", "--network=host", f"--build-arg=BASE_IMAGE={name}"),
        *pip.secrets(folder),
        *(f"--file={ROOT}/docker/Dockerfile", f"--tag={IMAGE}", str(ROOT)),
        timeout_s=BUILD_TIMEOUT_S,
    )


def size(found: Engine, image: str) -> int:
    """The size of an image with all of its layers, in bytes."""
    return int(found.run("image", "inspect", "--format={{.Size}}", image))


def buy(running: stack.Stack, tokens: dict[str, str], product: str) -> None:
    """Place an order for a product, and wait for its event."""
    ports = {service.name: port for service in running.lasting for port in service.ports}
    commerce, events = (f"http://127.0.0.1:{ports[name]}" for name in ("commerce", "events"))
    own, readers = tokens["ROWLOCK_COMMERCE_TOKEN"], tokens["ROWLOCK_EVENTS_TOKEN"]
    running.request("commerce", "GET", f"{commerce}/api/users/johndoe", own)
    body = {"order": {"items": [product], "user_id": "johndoe"}}
    placed = running.request("commerce", "POST", f"{commerce}/api/orders", own, body)
    subject = f"order:{placed['order']['order_id']}"

    def is_there() -> bool:
        url = f"{events}/events?subject={subject}"
        found = running.request("events", "GET", url, readers)
        return [each["name"] for each in found] == ["benefit_order.placed"]

    try:
        until_true(is_there, EVENT_TIMEOUT_S)
    except TimeoutError:
        raise Failed(f"no event tells of {subject}\n{running.log('commerce')}") from None


def say(began: float, text: str) -> None:
    """Print a line, with the seconds since the beginning."""
    print(f"{time.monotonic() - began:5.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
