"""Metrics of several processes that serve one port: whichever is scraped answers for all.

prometheus_client keeps each process's numbers in files of one folder. It looks for that folder
as it is imported, so this module must not import it, nor anything that does.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_metrics(workers: int) -> Iterator[Callable[[int], None]]:
    """Let the processes started inside share their metrics; lend what is to be told of a dead pid.

    For the parent of the workers, before it imports what they serve. One worker needs no folder.
    """
    if workers == 1:
        yield lambda _: None
        return
    assert "prometheus_client" not in sys.modules
    with TemporaryDirectory(prefix="rowlock-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

        try:
            # What a dead worker has counted stays in the sums; its queues and its pool do not.
            yield mark_process_dead
        finally:
            del os.environ[FOLDER_VARIABLE]
