"""What `make bench` measures over HTTP: the rows of its table, and their sides."""

import asyncio
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import bare_client
import deployments
import pgbench_scripts
from harness import (
    CONNECTIONS,
    HERE,
    PGBENCH_CLIENTS,
    WRK_THREADS,
    BenchFailed,
    Measurement,
    Spec,
    Stage,
    missing_program,
    missing_wrk,
)

from rowlock.engine.database import Database
from rowlock.engine.statements import queries
from rowlock.ops import seed
from rowlock.settings import Settings

PYTHON = sys.executable
ROWLOCK = Path(PYTHON).parent / "rowlock"
KOA = HERE / "peers" / "koa"

PEERS = ("FastAPI", "Koa")

USERS = 100_000
PRODUCTS = 1_000
INVOICES = 300_000  # loaded at a time for the hot user
INVOICES_PER_S = 15_000  # at most paid by any side
# With as many as the service has, the peers were no faster, and what is under way when wrk stops
# would be a large part of what they do in a run.
PEER_CONNECTIONS = PGBENCH_CLIENTS
DAYS = 2_500_000  # for bookings: so many that nearly all of them fit


# --- servers ------------------------------------------------------------------------------------


def missing_modules(*names: str) -> str | None:
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    return (
        f"{', '.join(absent)} is not installed (pip install 'rowlock[bench]')" if absent else None
    )


def missing_koa() -> str | None:
    if reason := missing_program("node", "apt install nodejs npm"):
        return reason
    if not (KOA / "node_modules").exists():
        return (
            f"its packages are not installed (npm install --prefix {KOA.relative_to(Path.cwd())})"
        )
    return None


def missing_workers() -> str | None:
    usage = subprocess.run([ROWLOCK, "serve", "--help"], capture_output=True, text=True, check=True)
    return None if "--workers" in usage.stdout else "rowlock serve has no --workers yet"


def specs(many_deployments: int) -> dict[str, Spec]:
    """Return the servers that rows name."""
    commerce = (ROWLOCK, "serve", "commerce")
    projects = (ROWLOCK, "serve", "projects")
    return {
        "rowlock": Spec(commerce),
        "2 workers": Spec((*commerce, "--workers", "2"), missing=missing_workers),
        "empty": Spec((PYTHON, HERE / "empty.py")),
        "FastAPI": Spec(
            (PYTHON, HERE / "peers" / "fastapi_shop.py"),
            missing=lambda: missing_modules("fastapi", "uvicorn", "sqlalchemy"),
        ),
        "Koa": Spec(
            ("node", KOA / "server.js"),
            missing=missing_koa,
            environment={"NODE_ENV": "production"},
        ),
        "many": Spec(projects, lambda stage: deployments.load(stage, many_deployments)),
        "few": Spec(projects, lambda stage: deployments.load(stage, deployments.FEW)),
        "empty projects": Spec((PYTHON, HERE / "empty.py", "projects")),
    }


NOTHING = "SELECT 0"


# --- sides: what is measured, in turn -----------------------------------------------------------


class Side(Protocol):
    """Something whose speed a row shows; it says how it is named and measures one run."""

    @property
    def name(self) -> str: ...

    def missing(self, stage: Stage) -> str | None:
        """Return why it can't be measured here, or None."""

    def measure(self, stage: Stage, seconds: float) -> Measurement: ...


Arguments = Callable[[Stage, float], Sequence[object]]  # of a script, for a run of so long


@dataclass(frozen=True, slots=True)
class Http:
    """wrk against one of the servers."""

    server: str
    script: str
    arguments: Arguments
    rows: str | None = None  # counts the rows that the requests write: one each
    connections: int = CONNECTIONS
    label: str = ""  # the server's name, unless a row has it twice
    refusals_count: bool = False  # as answers: they are what is measured
    unused: str | None = None  # counts what it must leave alone

    @property
    def name(self) -> str:
        return self.label or self.server

    def missing(self, stage: Stage) -> str | None:
        return missing_wrk() or stage.specs[self.server].missing()

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        server, arguments = stage.server(self.server), self.arguments(stage, seconds)
        used = stage.postgres.number(self.unused or NOTHING)

        def run() -> Measurement:
            return stage.wrk(server, self.script, arguments, seconds, self.connections)

        if self.rows is None:
            measured = run()
        else:
            # What was under way when wrk stopped is written, and not counted by wrk.
            measured = _counted(stage, self.rows, run, self.name, surplus=self.connections)
        if stage.postgres.number(self.unused or NOTHING) > used + USES_BY_OTHERS:
            raise BenchFailed(f"{self.name} has used what {self.script} can do without.")
        return measured.counting_refusals() if self.refusals_count else measured


@dataclass(frozen=True, slots=True)
class Pgbench:
    """The same statements by pgbench, one command per transaction."""

    script: Callable[[], str]
    variables: Callable[[Stage, float], Mapping[str, int]]
    rows: str  # counts the rows that the transactions write: one each
    idle_share: float = 0.0  # of the transactions, at most, that find nothing to write
    name: str = "pgbench"

    def missing(self, _: Stage) -> None:
        return None

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        variables = self.variables(stage, seconds)

        def run() -> Measurement:
            return stage.pgbench(self.script(), variables, seconds)

        return _counted(stage, self.rows, run, self.name, idle_share=self.idle_share)


@dataclass(frozen=True, slots=True)
class BareClient:
    """One asyncpg connection with the same statements, one transaction after the other."""

    rows: str
    name: str = "asyncpg"

    def missing(self, _: Stage) -> None:
        return None

    def measure(self, stage: Stage, seconds: float) -> Measurement:
        def run() -> Measurement:
            latencies_ms = bare_client.place_orders(stage.postgres.url, USERS, PRODUCTS, seconds)
            cuts = statistics.quantiles(latencies_ms, n=100)
            succeeded, elapsed_s = len(latencies_ms), sum(latencies_ms) / 1000
            return Measurement(succeeded / elapsed_s, cuts[49], cuts[98], succeeded, elapsed_s)

        return _counted(stage, self.rows, run, self.name)


def _counted(
    stage: Stage,
    rows: str,
    run: Callable[[], Measurement],
    name: str,
    surplus: int = 0,
    idle_share: float = 0.0,
) -> Measurement:
    """Return what `run` measures, once it has been checked that it wrote what it says."""
    before = stage.postgres.number(rows)
    measured = run()
    written = stage.postgres.steady_number(rows) - before
    least = measured.succeeded * (1 - idle_share)
    if not least <= written <= measured.succeeded + surplus:
        raise BenchFailed(f"{name} succeeded {measured.succeeded} times, but wrote {written} rows.")
    return measured


# --- rows ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: its first side is the one whose ratios to the others are shown."""

    name: str  # for --only
    title: str
    sides: tuple[Side, ...]
    targets: Mapping[str, float] = field(default_factory=dict)  # ratio, by the other side
    quantity: Literal["per_s", "p50_ms"] = "per_s"  # what the ratio is of

    @property
    def more_is_better(self) -> bool:
        return self.quantity == "per_s"

    def is_reached(self, side: str, ratio: float) -> bool | None:
        """Tell whether the target is reached; None: there is none."""
        target = self.targets.get(side)
        if target is None:
            return None
        return ratio >= target if self.more_is_better else ratio <= target

    def with_sides(self, sides: Sequence[Side]) -> "Row":
        return replace(self, sides=tuple(sides))

    def describe_target(self, side: str) -> str:
        target = self.targets.get(side)
        if target is None:
            return ""
        return f"{'≥' if self.more_is_better else '≤'} {target:g}"


def all_pairs(*_: object) -> tuple[int, int]:
    """Return how many users and products a benefit order may draw from."""
    return USERS, PRODUCTS


def user_ids(stage: Stage, _: float = 0) -> tuple[int, int]:
    """Return the first and the last id of the load-test users, which have all between."""
    numbers = "SELECT {}(id) FROM users WHERE username LIKE 'load-%'"
    first, last = (stage.postgres.number(numbers.format(which)) for which in ("min", "max"))
    return first, last


def buyers(stage: Stage, seconds: float) -> tuple[int, int, int]:
    """Return the first and the last user id, and how many products there are."""
    return (*user_ids(stage, seconds), PRODUCTS)


def users_read(stage: Stage, _: float) -> tuple[object, ...]:
    return ("/user/", *user_ids(stage))


def payments(stage: Stage, seconds: float) -> tuple[int, int]:
    """Return the first of as many pending invoices of one user as any side can pay."""
    first, last = next_invoice(stage), stage.postgres.number(LAST_INVOICE)
    if last - first < seconds * INVOICES_PER_S:
        load_invoices(stage, INVOICES, accounts=1)
    return first, WRK_THREADS


def next_invoice(stage: Stage) -> int:
    """Return the first invoice after those that are paid; all that follow are pending."""
    # True while nobody but load_invoices issues any: the row that does so comes later.
    return 1 + stage.postgres.number(
        "SELECT coalesce(max(id), 0) FROM invoices WHERE status = 'paid'"
    )


def load_invoices(stage: Stage, count: int, accounts: int) -> None:
    """Add pending invoices, spread over so many users in turn."""
    first_user, _ = user_ids(stage)
    stage.postgres.execute(
        """
        INSERT INTO invoices (user_id, amount, label)
        SELECT %s + n %% %s, 11350, 'Work for April' FROM generate_series(1, %s) AS n ORDER BY n
        """,
        first_user,
        accounts,
        count,
    )
    stage.postgres.execute("VACUUM ANALYZE invoices")
    stage.postgres.execute("CHECKPOINT")


LAST_INVOICE = "SELECT coalesce(max(id), 0) FROM invoices"
ORDERS_PLACED = "SELECT count(*) FROM orders"
INVOICES_PAID = "SELECT count(*) FROM invoices WHERE status = 'paid'"
INVOICES_ISSUED = "SELECT count(*) FROM invoices"
BOOKINGS = "SELECT count(*) FROM service_orders"


# A request without a key must not look at the table of keys; the purge does, now and then.
KEYS_USED = """
    SELECT seq_scan + coalesce(idx_scan, 0) + n_tup_ins FROM pg_stat_user_tables
    WHERE relname = 'idempotency_keys'"""
USES_BY_OTHERS = 5


def rows(many_deployments: int) -> tuple[Row, ...]:
    """Return all rows, in an order in which none spoils another."""
    return (
        Row(
            "orders",
            "POST /api/orders, many users",
            (
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED, unused=KEYS_USED),
                Http("empty", "orders.lua", all_pairs),
                Pgbench(
                    pgbench_scripts.benefit_order,
                    lambda *_: {"users": USERS, "products": PRODUCTS},
                    ORDERS_PLACED,
                    idle_share=0.02,  # users who own the product already
                ),
                Http("FastAPI", "orders.lua", all_pairs, ORDERS_PLACED, PEER_CONNECTIONS),
                Http("Koa", "orders.lua", all_pairs, ORDERS_PLACED, PEER_CONNECTIONS),
            ),
            {"empty": 0.60, "pgbench": 2.5, "FastAPI": 15, "Koa": 6},
        ),
        Row(
            "pay",
            "POST /invoices/{id}/pay, one hot user",
            (
                Http("rowlock", "pay.lua", payments, INVOICES_PAID),
                Http("empty", "pay.lua", lambda *_: (1, WRK_THREADS)),
                Pgbench(
                    pgbench_scripts.invoice_payment,
                    lambda stage, seconds: {
                        "first": payments(stage, seconds)[0],
                        "clients": PGBENCH_CLIENTS,
                        "turn": 0,
                    },
                    INVOICES_PAID,
                ),
                Http("FastAPI", "pay.lua", payments, INVOICES_PAID, PEER_CONNECTIONS),
                Http("Koa", "pay.lua", payments, INVOICES_PAID, PEER_CONNECTIONS),
            ),
            {"pgbench": 8.0, "FastAPI": 25, "Koa": 15},
        ),
        Row(
            "create",
            "POST /orders, three items, settled meanwhile",
            (
                Http("rowlock", "create_orders.lua", buyers, ORDERS_PLACED),
                Http("empty", "create_orders.lua", buyers),
            ),
            {"empty": 0.45},
        ),
        Row(
            "users",
            "GET /user/{id}, many users",
            (Http("rowlock", "get.lua", users_read), Http("empty", "get.lua", users_read)),
            {"empty": 0.90},
        ),
        Row(
            "invoices",
            "POST /invoices, many users",
            (
                Http("rowlock", "invoices.lua", user_ids, INVOICES_ISSUED),
                Http("empty", "invoices.lua", user_ids),
            ),
        ),
        Row(
            "bookings",
            "POST /service-orders, nearly all find a free time",
            (
                Http("rowlock", "service_orders.lua", lambda *_: (DAYS,), BOOKINGS),
                Http("empty", "service_orders.lua", lambda *_: (DAYS,)),
            ),
        ),
        Row(
            "week",
            "POST /service-orders into a full week, nearly all are 409",
            (
                Http("rowlock", "service_orders.lua", lambda *_: (7,), refusals_count=True),
                Http("empty", "service_orders.lua", lambda *_: (7,)),
            ),
        ),
        Row(
            "projects",
            f"GET /projects?page=, {deployments.PROJECTS:,} projects with {many_deployments:,} "
            f"deployments (many) or {deployments.FEW:,} (few)",
            (
                Http("many", "projects.lua", lambda *_: (deployments.PAGES,)),
                Http("few", "projects.lua", lambda *_: (deployments.PAGES,)),
                Http(
                    "empty projects",
                    "projects.lua",
                    lambda *_: (deployments.PAGES,),
                    label="empty",
                ),
            ),
            {"few": 0.80},
        ),
        Row(
            "lone",
            "POST /api/orders, one connection on an idle service: latency",
            (
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED, connections=1),
                BareClient(ORDERS_PLACED),
            ),
            {"asyncpg": 2.0},
            quantity="p50_ms",
        ),
        Row(
            "workers",
            "POST /api/orders, two processes against one",
            (
                Http("2 workers", "orders.lua", all_pairs, ORDERS_PLACED),
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED),
            ),
            {"rowlock": 1.3},
        ),
        Row(
            "keys",
            "POST /api/orders, each with an Idempotency-Key, against none",
            (
                Http(
                    "rowlock",
                    "orders.lua",
                    lambda *_: (USERS, PRODUCTS, 1),
                    ORDERS_PLACED,
                    label="with a key",
                ),
                Http("rowlock", "orders.lua", all_pairs, ORDERS_PLACED, label="without"),
            ),
        ),
    )


def load(stage: Stage, users: int = USERS) -> None:
    """Add the users, the products and the services that every row may use, unless they exist."""
    settings = Settings().changed(statement_timeout_s=300.0)  # a chunk of users is one statement

    async def add() -> None:
        numbers = range(1, PRODUCTS + 1)
        async with Database(stage.postgres.url, settings.database) as database:
            await seed.load_users(database, users, lambda _: None)
            async with database.transaction() as connection:
                await queries.seed.add_products(
                    connection,
                    slugs=[f"load-product-{number}" for number in numbers],
                    names=[f"Product {number}" for number in numbers],
                    prices=[100 + number for number in numbers],
                )
                await queries.seed.add_services(connection, service_ids=[123], names=["Inspection"])

    stage.progress.doing(f"loading {users:,} users")
    asyncio.run(add())
    # Only what has rows: a table known to be empty is planned for as if it stayed so.
    stage.postgres.execute("VACUUM ANALYZE users, ledger_entries, products")
    stage.postgres.execute("CHECKPOINT")
