"""A browser's side of the console, over HTTP: it signs in, opens pages and sends their forms."""

import re
from collections.abc import Mapping, Sequence
from html import unescape
from http.cookies import SimpleCookie
from typing import Any, TypeAlias

from aiohttp import ClientResponse

from tests.support.types import Client

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SAME = {"Sec-Fetch-Site": "same-origin"}
Fields: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]

KEY = re.compile(r'name="key" value="([0-9a-f-]{36})"')


class Visitor:
    """One who looks at pages. Its cookies are kept as a browser does, over http on localhost."""

    def __init__(self, client: Client, cookie: str) -> None:
        """`cookie` is the name of the session's."""
        self.client = client
        self.cookies: dict[str, str] = {}
        self._cookie = cookie

    @property
    def is_signed_in(self) -> bool:
        return self._cookie in self.cookies

    async def get(self, path: str, **headers: str) -> ClientResponse:
        """Open a page."""
        return await self._send("GET", path, HTML | headers)

    async def page(self, path: str, status: int = 200) -> str:
        """Open a page; return its HTML."""
        response = await self.get(path)
        assert response.status == status, (path, response.status, await response.text())
        return await response.text()

    async def post(
        self, path: str, fields: Fields, headers: Mapping[str, str] = SAME
    ) -> ClientResponse:
        """Send a form."""
        return await self._send(
            "POST",
            path,
            {**HTML, **headers},
            data=[*(fields.items() if isinstance(fields, Mapping) else fields)],
        )

    async def post_text(self, path: str, body: str) -> ClientResponse:
        """Send a form, some of whose fields have several values."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._send("POST", path, {**HTML, **SAME, **kind}, data=body)

    async def act(self, path: str, **fields: str) -> str:
        """Open the page of an action, send its form, and return the page that it leads to."""
        found = KEY.search(await self.page(path))
        assert found is not None, path
        return await self.follow(await self.post(path, {"key": found[1], **fields}))

    async def act_with(self, path: str, fields: Mapping[str, str], to: str | None = None) -> str:
        """Open a page and send the form on it with a key of its own, perhaps to another path."""
        found = KEY.search(await self.page(path))
        assert found is not None, path
        action = to or path.partition("?")[0]
        return await self.follow(await self.post(action, {**fields, "key": found[1]}))

    async def follow(self, response: ClientResponse) -> str:
        """Return the page that an answer leads on to."""
        assert response.status == 303, (response.status, await response.text())
        location = response.headers["Location"].removeprefix(
            str(self.client.make_url("")).rstrip("/")
        )
        return await self.page(location)

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], **body: Any
    ) -> ClientResponse:
        sent = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {**headers, **({"Cookie": sent} if sent else {})}
        response = await self.client.request(
            method, path, headers=given, allow_redirects=False, **body
        )
        for line in response.headers.getall("Set-Cookie", ()):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return response


def text_of(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())
