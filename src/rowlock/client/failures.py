"""Why a call has failed, by what its caller may believe of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service has answered: its status, its headers, and its JSON (None: no body)."""

    status: int
    headers: Mapping[str, str]
    body: Any = field(default=None, repr=False)  # it may have a secret, or a person's name

    @property
    def error(self) -> Mapping[str, Any]:
        """The error of Rowlock that the body tells; empty if the body is none."""
        is_error = isinstance(self.body, dict) and isinstance(self.body.get("error"), str)
        return self.body if self.status >= 400 and is_error else {}  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, as it was sent each time."""

    method: str
    path: str  # below the service's URL
    key: str | None = None  # of idempotency
    request_id: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class CallFailed(Exception):
    """A call has failed. `code` is the API's, such as `insufficient_balance`: go by that.

    `answer` is the last one, if any came; else `problem` says what happened. `attempts` are how
    often the request was sent, or tried to be.
    """

    def __init__(
        self, sent: Sent, answer: Answer | None = None, problem: str = "", attempts: int = 1
    ) -> None:
        super().__init__(sent, answer, problem, attempts)
        self.sent = sent
        self.answer = answer
        self.problem = problem
        self.attempts = attempts

    @property
    def status(self) -> int:
        """The HTTP status; 0: there was no answer."""
        return self.answer.status if self.answer else 0

    @property
    def code(self) -> str:
        """The code of the error, as in docs/api.md; empty if Rowlock told none."""
        return str(self._error.get("error", ""))

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return str(self._error.get("message") or self.code or self.problem or self.status)

    @property
    def details(self) -> Mapping[str, Any]:
        """What the error is about, such as `{"balance": 100, "amount": 200}`."""
        return self._error.get("details") or {}

    @property
    def request_id(self) -> str | None:
        """The id of the request, as in the service's log."""
        told = self.answer.headers.get("X-Request-ID") if self.answer else None
        return told or self.sent.request_id

    @property
    def idempotency_key(self) -> str | None:
        """The key that each attempt had: with it, the same call can be made again."""
        return self.sent.key

    @property
    def _error(self) -> Mapping[str, Any]:
        return self.answer.error if self.answer else {}

    def __str__(self) -> str:
        told = f"{self.status} {self.message}" if self.answer else self.message
        times = f" ({self.attempts} attempts)" if self.attempts > 1 else ""
        return f"{self.sent}: {told}{times}"


class Refused(CallFailed):
    """The service has refused the request: it has had no effect, and sent again it would not."""


class Unavailable(CallFailed):
    """The service could not be reached, or had no time: the call has had no effect. Try later."""


class OutcomeUnknown(CallFailed):
    """The call may or may not have had its effect: make it again, with the same key, to know."""
