"""A real PgBouncer in front of a test's database."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.polling import until
from tests.support.processes import free_port
from tests.support.proxy import Proxy

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
needs_pgbouncer = pytest.mark.skipif(
    PGBOUNCER is None, reason="pgbouncer is not there: apt-get install pgbouncer"
)


@asynccontextmanager
async def pgbouncer(target: str | Proxy, mode: str = "transaction") -> AsyncIterator[str]:
    """Lend a URL that leads to the database at `target` through PgBouncer."""
    assert PGBOUNCER is not None
    # Root's PgBouncer runs as nobody: it can't enter the server's folder.
    way = nullcontext(target) if isinstance(target, Proxy) else Proxy.to(target)
    async with way as proxy:
        with tempfile.TemporaryDirectory(prefix="rowlock-pgbouncer-") as folder:
            login, port = conninfo_to_dict(proxy.url), free_port()
            settings = _configure(Path(folder), login, port, mode)
            process = await asyncio.create_subprocess_exec(
                PGBOUNCER,
                *(("--user", "nobody") if os.geteuid() == 0 else ()),
                settings,
                stderr=asyncio.subprocess.DEVNULL,
            )
            url = f"postgresql://{login['user']}@127.0.0.1:{port}/{login['dbname']}"
            try:
                await until(lambda: asyncio.to_thread(_answers, url))
                yield url
            finally:
                process.kill()
                await process.wait()


def _configure(folder: Path, server: dict[str, Any], port: int, mode: str) -> Path:
    folder.chmod(0o755)
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server['port']} user={server['user']}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {mode}\nmax_client_conn = 200\n"
    )
    return settings


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, autocommit=True).close()
    except psycopg.OperationalError:
        return False
    return True
