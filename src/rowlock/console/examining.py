"""What `rowlock doctor` finds: it runs as a process of its own, so that no page waits for it.

Its findings are kept with a job in the main database, where all processes of the console read them.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from datetime import timedelta
from typing import Any

import orjson

from rowlock.engine.jobs import DONE, FAILED, Job, Jobs, StartJob
from rowlock.origin import Origin

EXAMINE = "examine"  # the kind of the job
SILENCE = timedelta(minutes=1)  # after which its process is gone
BEAT_S = 5.0  # it tells how far it is so often, and more often while there is something new
NEWS_S = 0.5
LINE_BYTES = 1_000_000
COMMAND = (sys.executable, "-m", "rowlock", "doctor", "--json")


def ask(origin: Origin) -> StartJob:
    """Return the command for an examination."""
    return StartJob(EXAMINE, {}, 0, origin, SILENCE)


class Examination:
    """One run of the doctor."""

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self._jobs = jobs
        self._job = job
        self._findings: list[dict[str, Any]] = []
        self._checking = "settings, databases and migrations"
        self._done = self._total = 0

    async def run(self) -> None:
        """Run the doctor to its end, or until the job is stopped."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, limit=LINE_BYTES
        )
        try:
            assert process.stderr is not None
            said = asyncio.create_task(process.stderr.read())
            if await self._follow(process):
                await self._end(await process.wait(), await said)
        finally:
            with suppress(ProcessLookupError):
                process.kill()  # a worker's children ignore SIGTERM, and it only reads
            await process.wait()

    async def _follow(self, process: Process) -> bool:
        """Read all that the doctor says; return whether it is still wanted."""
        assert process.stdout is not None
        loop = asyncio.get_running_loop()
        told = loop.time()
        while True:
            line = b" "
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    line = await process.stdout.readline()
            if not line:
                return True
            self._read(line)
            if loop.time() >= told + NEWS_S:
                told = loop.time()
                if not await self._tell(None):
                    return False

    def _read(self, line: bytes) -> None:
        if not line.strip():
            return  # nothing new, but the process is alive
        said = orjson.loads(line)
        if "checking" in said:
            self._checking, self._done, self._total = said["checking"], said["done"], said["total"]
        else:
            self._findings.append(said)

    async def _end(self, status: int, said: bytes) -> None:
        if status not in {0, 1} or (status and not self._findings):
            text = said.decode(errors="replace")[-1000:].strip() or f"exit status {status}"
            self._findings.append({"check": "doctor", "problem": text, "note": "", "warns": False})
            await self._tell(FAILED)
        else:
            await self._tell(DONE)

    async def _tell(self, outcome: str | None) -> bool:
        return await self._jobs.move(
            self._job,
            total=self._total,
            outcome=outcome,
            result={
                "findings": self._findings,
                "checking": self._checking,
                "done": self._done,
            },
        )
