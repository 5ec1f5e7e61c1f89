"""Exit with 0 if a service answers /healthz here, and no other that listens fails to."""

import sys
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from rowlock.settings import Settings

addresses = Settings.from_environment().addresses
alive = 0
for port in (addresses.commerce_port, addresses.projects_port, addresses.events_port):
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
            alive += 1
    except HTTPError as error:
        sys.exit(f"port {port}: {error}")
    except URLError as error:
        if not isinstance(error.reason, ConnectionRefusedError):
            sys.exit(f"port {port}: {error}")
sys.exit(None if alive else "no service answers")
