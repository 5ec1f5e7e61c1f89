"""Content negotiation: what a client gets by its Accept header (RFC 9110, section 12.5.1)."""

import pytest
from aiohttp import hdrs
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from rowlock.http.negotiation import LONGEST, preferred

JSON, HTML = "application/json", "text/html"
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"  # noqa: E501
FOR_JSON = [
    None,
    "",
    "*/*",
    "application/*",
    "application/json",
    "application/json, text/html",
    "text/html, application/json",
    "text/html;q=0.5, application/json;q=0.6",
    "text/html;q=0.5, */*",
    "text/html;q=0, */*;q=0.1",
    "text/html;q=0.9, application/json; charset=utf-8",
    "*/*, text/*;q=0.3",
    "text/html;level=1",
    "text/html;level=1, application/json;q=0.1",
    "text/htmlx, text",
    "text/html;q=2, application/json;q=0.1",
    "text/html;q=, application/json;q=0.1",
    "text/html;q=0.1234, application/json;q=0.1",
    "text/html;q=nan, application/json;q=0.1",
    "application/json;q=1.000, text/html;q=0.999",
    "image/png",
    ",,;;,=,;q=1",
]
FOR_HTML = [
    FIREFOX,
    CHROME,
    "text/html",
    "TEXT/HTML",
    "text/*",
    "text/html;charset=utf-8",
    "text/html; CHARSET=UTF-8",
    "application/json;q=0.5, text/html;q=0.6",
    "application/json;q=0, */*",
    "application/json;q=0.3, application/*;q=0.9, text/html;q=0.5",
    "text/html ; Q=0.5 , application/json ; q=0.4",
    "text/html;q=0.5;level=1, application/json;q=0.4",
    "*/*;q=0.1, text/html;q=0.2",
    'x/y;a="b,c", text/html',
]


def choice(*accept: str) -> str:
    headers = CIMultiDict([(hdrs.ACCEPT, line) for line in accept])
    return preferred(make_mocked_request("GET", "/", headers=headers), (JSON, HTML))


@pytest.mark.parametrize("accept", FOR_JSON)
def test_preferred__json_liked_as_much_or_nothing_known__json(accept: str | None) -> None:
    assert choice(*[] if accept is None else [accept]) == JSON


@pytest.mark.parametrize("accept", FOR_HTML)
def test_preferred__html_liked_more__html(accept: str) -> None:
    assert choice(accept) == HTML


def test_preferred__a_long_list__is_not_read_to_its_end() -> None:
    padding = "a/b," * (LONGEST // 4)
    assert choice(f"{HTML},{padding}") == HTML
    assert choice(f"{padding}{HTML}") == JSON


def test_preferred__several_lines__are_one_list() -> None:
    assert choice("application/json;q=0.1", "text/html") == HTML
    assert choice("text/html;q=0.1", "application/json") == JSON
