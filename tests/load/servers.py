"""The servers that rows name: the service, what bounds it, and its peers."""

import importlib.util
import sys
from pathlib import Path

import deployments
from harness import HERE, PORT, Spec, missing_program

PYTHON = sys.executable
ROWLOCK = Path(PYTHON).parent / "rowlock"
PEERS = HERE / "peers"

# Who must answer and write what the service does; whether invoices can be paid there, too.
AUDITED = {
    "bare": True,
    "FastAPI": True,
    "Koa": True,
    "Fastify": True,
    "Node, batches": False,
}


def specs(many_deployments: int) -> dict[str, Spec]:
    """Return the servers that rows name."""
    commerce = (ROWLOCK, "serve", "commerce")
    projects = (ROWLOCK, "serve", "projects")
    return {
        "rowlock": Spec(commerce),
        "2 workers": Spec((*commerce, "--workers", "2")),
        "empty": Spec((PYTHON, HERE / "empty.py")),
        "plain": Spec((PYTHON, HERE / "plain.py", PORT)),
        "bare": Spec((PYTHON, HERE / "bare.py")),
        "FastAPI": Spec(
            (PYTHON, PEERS / "fastapi_shop.py"),
            missing=lambda: missing_modules("fastapi", "uvicorn", "sqlalchemy"),
        ),
        "Koa": _node("koa", "server.js"),
        "Fastify": _node("fastify", "server.js"),
        "Node, batches": _node("fastify", "batches.js"),
        "many": Spec(projects, lambda stage: deployments.load(stage, many_deployments)),
        "few": Spec(projects, lambda stage: deployments.load(stage, deployments.FEW)),
        "empty projects": Spec((PYTHON, HERE / "empty.py", "projects")),
    }


def _node(folder: str, script: str) -> Spec:
    return Spec(
        ("node", PEERS / folder / script),
        missing=lambda: missing_node(folder),
        environment={"NODE_ENV": "production"},
    )


def missing_modules(*names: str) -> str | None:
    """Return a line that says which modules are not installed, or None if all are."""
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    return (
        f"{', '.join(absent)} is not installed (pip install 'rowlock[bench]')" if absent else None
    )


def missing_node(folder: str) -> str | None:
    """Return a line that says what the peer in peers/`folder` lacks, or None."""
    if reason := missing_program("node", "apt install nodejs npm"):
        return reason
    if not (PEERS / folder / "node_modules").exists():
        return f"its packages are not installed (npm install --prefix tests/load/peers/{folder})"
    return None
