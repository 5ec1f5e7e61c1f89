"""Reading /metrics as Prometheus does."""

import re
from collections.abc import Mapping
from functools import cache

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

# What clients of Prometheus tell of a process, on Linux.
PROCESS = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
}

Series = frozenset[tuple[str, str]]


class Scrape:
    """The samples of one scrape.

    A family is parsed when it is asked for: after some hundred tests a page has thousands of
    series, and to parse them all takes a second.
    """

    def __init__(self, text: str) -> None:
        start, *families = re.split(r"^# HELP ", text, flags=re.MULTILINE)
        assert not start
        self._texts = {family.split(" ", 1)[0]: f"# HELP {family}" for family in families}
        assert len(self._texts) == len(families)
        self._parsed = cache(self._parse)

    @property
    def families(self) -> list[Metric]:
        return [family for name in self._texts for family in self._parsed(name)]

    @property
    def names(self) -> set[str]:
        return {sample.name for family in self.families for sample in family.samples}

    def labels(self, name: str) -> set[str]:
        """All values of all labels of the series of that name."""
        return {text for series, _ in self._series(name) for _, text in series}

    def value(self, name: str, **labels: object) -> float:
        """The sum of the series that have these labels, among others; 0 without any."""
        wanted = {(label, str(value)) for label, value in labels.items()}
        return sum(value for series, value in self._series(name) if wanted <= series)

    def _series(self, name: str) -> list[tuple[Series, float]]:
        return [
            (frozenset(sample.labels.items()), sample.value)
            for start in self._texts
            if name.startswith(start)  # such as the buckets of a histogram
            for family in self._parsed(start)
            for sample in family.samples
            if sample.name == name
        ]

    def _parse(self, name: str) -> list[Metric]:
        return list(text_string_to_metric_families(self._texts[name]))


async def scrape(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None
) -> Scrape:
    async with session.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scrape(await response.text())
