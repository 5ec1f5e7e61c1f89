"""Reading /metrics as Prometheus does."""

from collections.abc import Mapping

import aiohttp
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
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self._samples: dict[tuple[str, Series], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self._samples}

    def labels(self, name: str) -> set[str]:
        """All values of all labels of the series of that name."""
        return {text for known, series in self._samples if known == name for _, text in series}

    def value(self, name: str, **labels: object) -> float:
        """The sum of the series that have these labels, among others; 0 without any."""
        wanted = {(label, str(value)) for label, value in labels.items()}
        return sum(
            value
            for (known, series), value in self._samples.items()
            if known == name and wanted <= series
        )


async def scrape(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None
) -> Scrape:
    async with session.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scrape(await response.text())
