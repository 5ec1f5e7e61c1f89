"""URLs of PostgreSQL databases: one reading of them for every driver.

psycopg knows every option of libpq, asyncpg about half. This module translates the others. Where
that is impossible, it refuses the URL and names the option, before anything starts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

EXAMPLE = "like postgresql://user:password@host/database"
SCHEMES = ("postgresql://", "postgres://")
PORT = 5432
HIGHEST_PORT = 65_535
# Kinds of servers, by target_session_attrs. Rowlock takes the first one where a URL names none.
PRIMARY = ("primary", "read-write")
UNKNOWN_OPTION = re.compile('invalid URI query parameter: "(\\w+)"')

# What asyncpg reads itself.
SHARED = {
    "passfile": ".+",
    "sslmode": "disable|allow|prefer|require|verify-ca|verify-full",
    "sslrootcert": ".+",
    "sslcert": ".+",
    "sslkey": ".+",
    "sslpassword": ".*",
    "sslcrl": ".+",
    "ssl_min_protocol_version": r"TLSv1(\.[1-3])?",
    "ssl_max_protocol_version": r"TLSv1(\.[1-3])?",
    "krbsrvname": ".+",
    "gsslib": "gssapi|sspi",
    "target_session_attrs": "any|primary|standby|read-write|read-only|prefer-standby",
}
# What is translated for it.
TRANSLATED = {
    "host": ".*",
    "port": "[0-9,]*",
    "dbname": ".*",
    "user": ".*",
    "password": "(?s).*",
    "options": ".*",
    "sslnegotiation": "postgres|direct",
    "connect_timeout": "-?[0-9]{1,9}",
    "keepalives": "[0-9]{1,9}",
    "keepalives_idle": "[0-9]{1,9}",
    "keepalives_interval": "[0-9]{1,9}",
    "keepalives_count": "[0-9]{1,9}",
    "tcp_user_timeout": "[0-9]{1,9}",
}
# What it lacks, with the values that change nothing: it works like that anyway.
DROPPED = {
    "application_name": ".*",  # each connection has a name of Rowlock's own
    "fallback_application_name": ".*",
    "channel_binding": "disable|prefer",
    "client_encoding": "(?i)utf-?8",
    "gssencmode": "disable|prefer",
    "gssdelegation": "0",
    "load_balance_hosts": "disable",
    "max_protocol_version": r"3\.[0-9]|latest",
    "min_protocol_version": r"3\.0",
    "sslcertmode": "allow",
    "sslcompression": "0",
    "sslsni": "1",
}
KNOWN = SHARED | TRANSLATED | DROPPED


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL says, in asyncpg's terms."""

    hosts: tuple[tuple[str, int], ...]  # none: wherever the driver looks for a server by itself
    options: Mapping[str, Any]  # arguments of asyncpg.connect
    connect_timeout_s: float | None  # for each host
    wants_primary: bool = False  # among several hosts
    accepts_standbys: bool = False  # it says so: otherwise reads are for the primary alone
    socket: Mapping[str, int] = field(default_factory=dict)  # libpq's names and units


def check(url: str) -> str:
    """Return `url`, or raise ValueError with the end of "The setting must be …"."""
    _hosts(_read(url))
    return url


def target(url: str) -> Target:
    """Return what `url` says, in asyncpg's terms."""
    given = _read(url)
    hosts = _hosts(given)
    options: dict[str, Any] = {
        name: given[key]
        for key, name in (("user", "user"), ("password", "password"), ("dbname", "database"))
        if given.get(key)
    }
    if not hosts and "port" in given:
        options["port"] = int(given["port"])
    if "options" in given:
        options["server_settings"] = {"options": given["options"]}
    if "sslnegotiation" in given:
        options["direct_tls"] = given["sslnegotiation"] == "direct"
    shared = {name: given[name] for name in SHARED if name in given}
    if shared.get("sslrootcert") == "system":
        del shared["sslrootcert"]
        options["ssl"] = True  # the system's certificates, and the host's name
    options["dsn"] = f"postgresql://?{urlencode(shared)}" if shared else "postgresql://"
    timeout = int(given.get("connect_timeout", 0))
    is_for_primary = given.get("target_session_attrs", PRIMARY[0]) in PRIMARY
    return Target(
        hosts=hosts,
        options=options,
        connect_timeout_s=timeout if timeout > 0 else None,
        wants_primary=len(hosts) > 1 and is_for_primary,
        accepts_standbys=not is_for_primary,
        socket={
            name: int(value)
            for name, value in given.items()
            if name.startswith("keepalives") or name == "tcp_user_timeout"
        },
    )


def for_psycopg(url: str, connect_timeout_s: int) -> dict[str, Any]:
    """Return the arguments of psycopg.connect for `url`; its own `connect_timeout` prevails."""
    return {"connect_timeout": connect_timeout_s, "client_encoding": "utf8"} | _read(url)


def beside(url: str, database: str) -> str:
    """Return the URL of another database on the server of `url`."""
    given = _read(url)
    given.pop("dbname", None)
    query = f"?{urlencode(given, quote_via=quote)}" if given else ""
    return f"postgresql:///{quote(database, safe='')}{query}"


def _read(url: str) -> dict[str, str]:
    """Return the options of `url` by libpq's names. Raises ValueError."""
    if not url.startswith(SCHEMES):
        raise ValueError(EXAMPLE)
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError as error:
        unknown = UNKNOWN_OPTION.match(str(error))
        raise ValueError(
            f"a URL without the unknown option {unknown[1]}" if unknown else EXAMPLE
        ) from None
    for name, value in given.items():
        if name not in KNOWN:
            raise ValueError(f"a URL without {name}, which the services' driver lacks")
        if not re.fullmatch(KNOWN[name], value):
            raise ValueError(_complaint(name))
    if given.get("sslrootcert") == "system" and given.get("sslmode") != "verify-full":
        raise ValueError("a URL with sslmode=verify-full, as sslrootcert=system needs it")
    return given


def _complaint(name: str) -> str:
    if name == "port":
        return EXAMPLE
    pattern = KNOWN[name]
    if re.fullmatch(r"[\w|-]+", pattern):
        return f"a URL with {name}={' or '.join(pattern.split('|'))}, or without it"
    return f"a URL with another {name}, or without it"


def _hosts(given: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Return the hosts with their ports. Raises ValueError."""
    hosts, ports = (given.get(name, "").split(",") for name in ("host", "port"))
    numbers = [int(port or PORT) for port in ports]
    if not all(0 < number <= HIGHEST_PORT for number in numbers):
        raise ValueError(EXAMPLE)
    if len(numbers) == 1:
        numbers *= len(hosts)
    if len(numbers) != len(hosts):
        raise ValueError("a URL with one port, or as many as hosts")
    if hosts == [""]:
        return ()
    if "" in hosts:
        raise ValueError("a URL with a name for each of its hosts")
    if not all(map(_can_be_looked_up, hosts)):
        raise ValueError("a URL with hosts whose names DNS allows")
    return tuple(zip(hosts, numbers, strict=True))


def _can_be_looked_up(host: str) -> bool:
    """Tell whether Python looks the name up; for others it raises no OSError, as it does else."""
    try:
        return host.startswith("/") or bool(host.encode("idna"))
    except UnicodeError:
        return False
