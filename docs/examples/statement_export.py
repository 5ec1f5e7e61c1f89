"""Export the statements of all users of one day as CSV: pip install rowlock.

    python docs/examples/statement_export.py http://localhost:4000 statements 2026-11-29

There is a file for each user, such as statements/2026-11-29/7.csv, and at the end a file COMPLETE.
A file that is there is whole: it is written under another name, synced, and renamed. So the export
can be stopped at any time, and goes on where it was when it is run again. The token of the service
is read from ROWLOCK_COMMERCE_TOKEN.
"""

import argparse
import asyncio
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from rowlock.client import Commerce, Policy

AT_ONCE = 8  # statements that are fetched
# An entry's time is given before its transaction commits, which may take a while, and by the
# database's clock. So a day is left to settle before it is exported.
SETTLED = timedelta(minutes=10)
COMPLETE = "COMPLETE"
# No user waits for this export, so it may take longer while the service is busy.
PATIENT = Policy(deadline_s=600.0)


async def export(url: str, folder: Path, day: date) -> int:
    """Write the statements that are missing in the day's folder; return how many."""
    since = datetime.combine(day, time(), UTC)
    until = since + timedelta(days=1)
    if not is_settled(until, datetime.now(UTC)):
        raise SystemExit(f"{day} is not over yet, in UTC, or has only just ended.")
    target = folder / day.isoformat()
    target.mkdir(parents=True, exist_ok=True)
    if (target / COMPLETE).exists():
        return 0
    written = 0
    token = os.environ.get("ROWLOCK_COMMERCE_TOKEN")
    async with Commerce(url, token=token, policy=PATIENT) as commerce:

        async def export_one(user_id: int) -> None:
            pieces = commerce.users.statement_csv(user_id, since=since, until=until)
            write(target / f"{user_id}.csv", b"".join([piece async for piece in pieces]))

        async for page in commerce.users.list(limit=AT_ONCE).pages():
            missing = [
                user.user_id for user in page if not (target / f"{user.user_id}.csv").exists()
            ]
            async with asyncio.TaskGroup() as group:
                for user_id in missing:
                    group.create_task(export_one(user_id))
            written += len(missing)
    write(target / COMPLETE, b"")
    return written


def is_settled(until: datetime, now: datetime) -> bool:
    """Tell whether nothing can be added any more to the time before `until`."""
    return until + SETTLED <= now


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, whatever happens to this process or the machine."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too, is on the disk then
    finally:
        os.close(folder)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Export the statements of a day as CSV.")
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("day", type=date.fromisoformat, help="such as 2026-11-29, in UTC")
    arguments = parser.parse_args()
    written = asyncio.run(export(arguments.url, arguments.folder, arguments.day))
    print(f"{written} statements written.")  # noqa: T201


if __name__ == "__main__":
    main()
