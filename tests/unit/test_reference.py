"""`rowlock settings`: all that there is to set, as the environment would have it."""

import io
import tokenize
from dataclasses import fields
from pathlib import Path

import rowlock.settings
from rowlock.ops.settings_page import describe
from rowlock.settings import Settings

FIELDS = [field.name for field in fields(Settings)]


def test_describe__each_setting__default_is_what_the_environment_would_say():
    settings = describe({})
    assert [setting.variable for setting in settings] == [f"ROWLOCK_{f.upper()}" for f in FIELDS]
    environ = {setting.variable: setting.default for setting in settings if setting.default}
    assert Settings.from_environment(environ) == Settings()
    without = {field.name for field in fields(Settings) if field.default is None}
    assert {s.variable for s in settings if not s.default} == {
        f"ROWLOCK_{f.upper()}" for f in without
    }


def test_describe__each_comment_beside_a_setting__is_its_meaning():
    source = Path(rowlock.settings.__file__).read_text()
    comments = [
        (token.line.split(":")[0].strip(), token.string.removeprefix("# "))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not token.line.lstrip().startswith("#")
    ]
    expected = {
        f"ROWLOCK_{name.upper()}": text
        for name, text in comments
        if name in FIELDS and not text.startswith("noqa")
    }
    assert len(expected) > 50
    assert {s.variable: s.meaning for s in describe({}) if s.meaning} == expected


def test_describe__what_is_set__shown_unless_it_may_be_secret():
    environ = {
        "ROWLOCK_ENV": "production",
        "ROWLOCK_BATCH_ITEMS": "7",
        "ROWLOCK_EVENTS_TOKEN": "hush",
        "ROWLOCK_DATABASE_URL": "postgresql://rowlock:hush@db/rowlock",
    }
    settings = describe(environ)
    assert "hush" not in str(settings)
    assert {s.variable: s.set_to for s in settings if s.set_to} == environ | {
        "ROWLOCK_EVENTS_TOKEN": "(not shown)",
        "ROWLOCK_DATABASE_URL": "(not shown)",
    }
    by_name = {setting.variable: setting for setting in settings}
    assert by_name["ROWLOCK_ENV"].takes == "development or production"
    assert by_name["ROWLOCK_OPENING_BALANCE"].default == "500.00"
    assert by_name["ROWLOCK_IDEMPOTENCY_KEEP_S"].default == "86400"
