"""docs/settings.md, made from the settings: `python -m tests.support.settings_table`."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from rowlock.settings import Settings, variable_of
from rowlock.settings.table import Setting, describe
from tests.support.environments import environment

PREFACE = """\
# Settings

Settings are environment variables. `rowlock settings` lists them with what they are set to.
[Operating](operating.md) tells what to set in production. A test compares this page with the code;
`python -m tests.support.settings_table > docs/settings.md` renews it.

Names end in their unit: `_S` is seconds, `_BYTES` bytes. A size or a limit without a unit is a
count.
"""


def page() -> str:
    """The page, with a table for each group."""
    with environment({}):
        described = {setting.variable: setting for setting in describe()}
    default = Settings()
    groups = [getattr(default, field.name) for field in fields(default)]
    parts = [PREFACE, "## All services\n", *_table([described["ROWLOCK_ENV"]])]
    for group in filter(is_dataclass, groups):
        title = (type(group).__doc__ or "").strip().splitlines()[0].rstrip(".")
        settings = [described[variable_of(field)] for field in fields(group)]
        parts += [f"\n## {title}\n", *_table(settings)]
    return "\n".join(parts) + "\n"


def _table(settings: list[Setting]) -> Iterator[str]:
    yield "| setting | takes | default | meaning |"
    yield "|---|---|---|---|"
    for setting in settings:
        default = f"`{setting.default}`" if setting.default else ""
        yield f"| `{setting.variable}` | {setting.takes} | {default} | {setting.meaning} |"


if __name__ == "__main__":
    print(page(), end="")
