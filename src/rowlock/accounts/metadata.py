"""Metadata: what clients note on their documents, as short texts by name."""

from collections.abc import Mapping

import orjson


def read(text: str | None) -> Mapping[str, str] | None:
    """Return metadata that is JSON, as commands and the database have it; None if there is none."""
    if text is None:
        return None
    noted: Mapping[str, str] = orjson.loads(text)
    return noted
