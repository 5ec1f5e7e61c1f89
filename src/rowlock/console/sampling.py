"""Sampling: every few seconds, what this machine's processes and those of others have counted.

This machine is read from memory, or from the files that its workers share: any of them has the
counts of all. Another machine is asked for its `/metrics`, which adds up its workers, too.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain
from typing import Any

import aiohttp
from aiohttp import hdrs
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as Series
from yarl import URL

from rowlock.console.samples import WANTED, Key, Point, Sample, add_up, rates, summarise
from rowlock.http.access import METRICS_PATH
from rowlock.http.metrics import collect
from rowlock.http.outbound import Outbound
from rowlock.settings import Settings

KEPT_S = 3600  # how far charts can go back
RECENT_S = 60  # what the figures are about
HERE = "this machine"
FAILURES = (aiohttp.ClientError, TimeoutError, ValueError, KeyError)


@dataclass(slots=True)
class Target:
    """What is sampled: this machine, or a service of another one."""

    name: str
    url: str | None  # None: this machine
    samples: deque[Sample] = field(default_factory=deque)  # of the last minute, oldest first
    problem: str | None = None  # why it is silent

    def add(self, sample: Sample) -> Mapping[Key, float] | None:
        """Add a sample; return the rates since the last one, if there is one."""
        self.problem = None
        found = rates(self.samples[-1], sample) if self.samples else None
        while self.samples and self.samples[0].at < sample.at - RECENT_S:
            self.samples.popleft()
        self.samples.append(sample)
        return found

    @property
    def recently(self) -> Mapping[Key, float]:
        """The rates of the last minute; none if it is silent or new."""
        if self.problem is not None or not self.samples or self.samples[0] is self.samples[-1]:
            return {}
        return rates(self.samples[0], self.samples[-1])


@dataclass(frozen=True, slots=True)
class Check:
    """What a service says of itself, or that it says nothing."""

    service: str
    problem: str  # in words
    is_silent: bool = False


class Sampler:
    """The samples of the last hour; it also asks the services how they are."""

    def __init__(
        self, settings: Settings, outbound: Outbound, neighbours: Mapping[str, str]
    ) -> None:
        """`neighbours` are the URLs of the services that this very process serves, by name."""
        self._settings = settings
        self._outbound = outbound
        others = [Target(_name(url), url) for url in settings.console.console_targets]
        self.targets: Sequence[Target] = (Target(HERE, None), *others)
        self.asked = {**neighbours, **{each.name: str(each.url) for each in others}}
        every_s = settings.console.console_sample_s
        self.points: deque[Point] = deque(maxlen=max(int(KEPT_S / every_s), 1))
        self.recent: Point | None = None  # of the last minute; None: there are no two samples yet

    @property
    def services(self) -> int:
        """How many services are asked how they are."""
        return len(self.asked)

    async def take(self) -> None:
        """Take a sample of all targets. Those that are silent say so; never raises."""
        found = await asyncio.gather(*map(self._sample, self.targets))
        known = [each for each in found if each is not None]
        if known:
            now = time.time()
            self.points.append(summarise(now, known))
            self.recent = summarise(now, (target.recently for target in self.targets))

    async def ask(self) -> Sequence[Check]:
        """Return what is wrong with the services, by their own words. Never raises."""
        checks = await asyncio.gather(*(self._ask(*each) for each in self.asked.items()))
        return [*chain.from_iterable(checks)]

    def after(self, at: float) -> Sequence[Point]:
        """Return the points after a time, oldest first."""
        return [point for point in self.points if point.at > at]

    async def _sample(self, target: Target) -> Mapping[Key, float] | None:
        """Return the rates since the last sample that the target has given, if there are any."""
        try:
            if target.url is None:
                series = await asyncio.to_thread(_series_here)
            else:
                series = await self._fetch(target.url)
            return target.add(Sample(time.monotonic(), add_up(series)))
        except FAILURES as error:
            target.problem = _describe(error)
            return None

    async def _fetch(self, url: str) -> Sequence[Series]:
        token = self._settings.addresses.metrics_token
        headers = {} if token is None else {hdrs.AUTHORIZATION: f"Bearer {token}"}
        async with (
            asyncio.timeout(self._patience_s),
            self._outbound.session.get(
                f"{url.rstrip('/')}{METRICS_PATH}", headers=headers, allow_redirects=False
            ) as response,
        ):
            if response.status == HTTPStatus.UNAUTHORIZED:
                raise ValueError("it does not take ROWLOCK_METRICS_TOKEN (401)")
            if response.status != HTTPStatus.OK:
                raise ValueError(f"its /metrics answers {response.status}")
            text = await response.text()
        return await asyncio.to_thread(_read, text)

    async def _ask(self, service: str, url: str) -> Sequence[Check]:
        """Return what is wrong with a service, by its own words."""
        problems: dict[str, None] = {}
        for path in ("/readyz", "/readyz/writes"):
            try:
                async with (
                    asyncio.timeout(self._patience_s),
                    self._outbound.session.get(
                        url.rstrip("/") + path, allow_redirects=False
                    ) as response,
                ):
                    told: Any = await response.json()
                checks = told["checks"].items()
                problems |= {f"{name}: {text}": None for name, text in checks if text != "ok"}
            except (*FAILURES, AttributeError, TypeError) as error:
                return [
                    Check(service, f"no answer from {path}: {_describe(error)}", is_silent=True)
                ]
        return [Check(service, problem) for problem in problems]

    @property
    def _patience_s(self) -> float:
        return min(2.0, self._settings.console.console_sample_s)


def _series_here() -> Sequence[Series]:
    return [series for family in collect() for series in family.samples if series.name in WANTED]


def _read(text: str) -> Sequence[Series]:
    """Return what is wanted of a text in Prometheus' format. Raises ValueError."""

    def wanted() -> Iterator[str]:
        for line in text.splitlines(keepends=True):
            if line.startswith(WANTED):
                yield line

    families = text_string_to_metric_families("".join(wanted()))
    return [series for family in families for series in family.samples]


def _name(url: str) -> str:
    """Return a target's URL without what goes without saying."""
    parsed = URL(url)
    return f"{parsed.host}:{parsed.port}{parsed.path.rstrip('/')}"


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it can't be reached"
    if isinstance(error, ValueError) and type(error) is ValueError:
        return str(error)
    return f"its answer can't be read ({type(error).__name__})"
