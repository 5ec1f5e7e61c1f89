"""The frame and the parts of our pages: HTML without scripts, in one file, that loads nothing."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from aiohttp import web

from rowlock.http.answers import head
from rowlock.http.openapi.shapes import HTML
from rowlock.http.shared import SharedBody

STYLE = files("rowlock.http.openapi").joinpath("page.css").read_text()
_digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_HEAD = head(
    {
        "Content-Type": f"{HTML}; charset=utf-8",
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    }
)

# In a page that is made once, it stands before each path: for what the URLs of a service begin
# with, which is known only when a request comes.
BASE = "\0"

Page = list[bytes]  # what stands between the BASEs


def frame(title: str, version: str, content: str) -> str:
    """Return a page with a heading and its content."""
    title = escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style>"
        f"<main><h1>{title} <small>{escape(version)}</small></h1>{content}</main></html>"
    )


def cut(page: str) -> Page:
    """Return a page as its answers share it."""
    return page.encode().split(BASE.encode())


def answer(page: Page, base: str) -> web.Response:
    """Return the answer that shows a page of a service whose URLs begin with `base`."""
    first, *others = page
    between = escape(base).encode()
    body = SharedBody([first, *(part for other in others for part in (between, other))])
    return web.Response(body=body, headers=PAGE_HEAD)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is names: without empty columns; nothing for no rows."""
    columns = [(head, cells) for head, *cells in zip(heads, *rows, strict=True) if any(cells)]
    if not columns:
        return ""
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head, _ in columns)
    names, *others = (cells for _, cells in columns)
    body = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th>'
        + "".join(f"<td>{inline(cells[at])}</td>" for cells in others)
        + "</tr>"
        for at, name in enumerate(names)
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def command(line: str) -> str:
    """Return a line for the shell. A click marks all of it, so that it can be copied."""
    return f'<pre class="command">{escape(line)}</pre>'


def paragraphs(text: str) -> str:
    """Return each paragraph of a text as one of HTML."""
    return "".join(f"<p>{inline(part)}</p>" for part in text.split("\n\n") if part)


def inline(text: str) -> str:
    """Return Markdown's only notation that the document uses, `code`, as HTML."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))
