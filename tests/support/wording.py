"""Phrases to avoid in English, each with what to write instead.

`python -m tests.support.wording src` lists those in a folder's sources.
"""

import re
import sys
from pathlib import Path

AVOIDED = {
    r"(?:some|no|any)body\b": "name the actor: a client, another transaction, a user",
    r"who(?:so)?ever\b": "name the actor: the client that, any process that",
    r"comes? to hand\b": "is on your PATH, is ready",
    r"(?:is|are) there[.;]": "exists, exist",
    r"needs? each other\b": "must be set together",
    r"wants? a person\b": "needs a person to decide",
    r"has heard of\b": "knows",
    r"disturbs?\b": "say what fails",
    r"guilty\b": "at fault",
    r"innocents?\b(?! commands)": "the other commands",
    r"tells? of\b": "documents, describes, reports",
    r"what is no\b": "name it: malformed HTTP",
    r"is no HTTP\b": "is malformed HTTP",
    r"mends?\b": "fixes",
    r"sane\b": "valid",
    r"come about\b": "happen",
    r"in good time\b": "say how long",
    r"thereby|herein|whereby|thereof|hitherto": "say it plainly",
}


def find(text: str) -> list[str]:
    """The phrases in a text that are to be avoided, each with its line's number and advice."""
    return [
        f"line {number}: {match[0]!r}: {better}"
        for number, line in enumerate(text.splitlines(), 1)
        for phrase, better in AVOIDED.items()
        for match in re.finditer(rf"\b(?:{phrase})", line, re.IGNORECASE)
    ]


if __name__ == "__main__":
    paths = [path for name in sys.argv[1:] for path in sorted(Path(name).rglob("*.py"))]
    problems = [f"{path}, {each}" for path in paths for each in find(path.read_text("utf-8"))]
    print(*problems, f"{len(problems)} phrases to avoid.", sep="\n")
