"""The commands of docs/high-availability.md, on the cluster of the run."""

import os
import subprocess
import sys
from pathlib import Path

from rowlock.ops.drill.cluster import OWNER, WHEEL
from tests.ha.cluster import PATRONI, Cluster
from tests.support import documents
from tests.support.documents import HA, HA_OWNER

PAGE = "docs/high-availability.md"
LEADER = "pg2"  # the page hands over to pg1
TIMEOUT_S = 600.0
SHORTER = {"--since 30m": "--since 20s"}  # the run's databases are younger than half an hour


def run(cluster: Cluster) -> list[str]:
    """Run each block, in order; return what has failed."""
    if cluster.primary().name != LEADER:
        cluster.switch_over(LEADER)
        cluster.heal()
    folder = cluster.files.folder
    cluster.files.write_sources()
    folder.chmod(0o777)  # both users write to it
    problems = []
    for block in documents.blocks(PAGE):
        if block.mark not in {HA, HA_OWNER}:
            continue
        script = block.text
        for shown, shorter in SHORTER.items():
            script = script.replace(shown, shorter)
        cluster.heal()  # of what the block before it has done
        as_owner = block.mark == HA_OWNER and OWNER is not None
        result = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=folder,
            env=_environment(cluster),
            user=OWNER if as_owner else None,
            group=OWNER if as_owner else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        with (folder / "runbook.log").open("a") as log:
            log.write(result.stdout)
        if result.returncode:
            problems.append(f"{PAGE}: {block.text}\n{result.stdout}")
    return problems


def _environment(cluster: Cluster) -> dict[str, str]:
    """Return what a shell on the first machine has, once it has read both files of variables."""
    ours = f"{Path(sys.executable).parent}:{PATRONI}:{WHEEL.bin_path}"
    return (
        os.environ
        | cluster.files.values
        | cluster.files.of_node(1)
        | dict(cluster.files.environment("rowlock.env"))
        | {"PATH": f"{ours}:{os.environ['PATH']}:/usr/sbin", "HOME": str(cluster.files.folder)}
    )
