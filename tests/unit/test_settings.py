"""Settings from the environment: each kind of field, and what production insists on."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from rowlock.errors import InvalidSettings
from rowlock.services import SERVICES
from rowlock.settings import Settings, all_settings
from rowlock.settings.kinds import Cents, Listed, kind_of
from rowlock.settings.names import server_url
from tests.support.environments import settings_from

PRODUCTION = {
    "ROWLOCK_ENV": "production",
    "ROWLOCK_DATABASE_URL": "postgresql://db/rowlock",
    "ROWLOCK_COMMERCE_TOKEN": "the-first-secret",
    "ROWLOCK_PROJECTS_TOKEN": "the-third-secret",
    "ROWLOCK_EVENTS_TOKEN": "the-second-secret",
}

NO_COUNTS = ["", "x", "-1", "+1", "1.0", "1e3", " 1", "1_0", "0x1", "²", "\u0661", "1000000000"]
NO_SECONDS = ["", "x", "-1", "-0.001", "nan", "inf", "-inf", "1e400", "2147483648", "1,5", "1s"]
NO_AMOUNTS = ["", "x", "-1", "-0.01", "NaN", "sNaN", "Infinity", "0.001", "75.999", "1,50", "€5"]
NO_AMOUNTS += ["90071992547409.92", "1e30", "1e-9", "1e400", "-1e400"]
NO_ORIGINS = ["", ",", "*", "null", "app.example.com", "https://*.example.com", "https://"]
NO_ORIGINS += ["https://a/", "https://a/x", "https://a?", "https://u@a", "https://a:99999"]
NO_ORIGINS += ["https://a,,https://b", "https://a https://b", "https://é", "https://a:", "file://"]


def test_settings__nothing_set__defaults() -> None:
    assert settings_from({}) == Settings()


def test_events_address__no_url__the_port_on_this_machine() -> None:
    port = {"ROWLOCK_EVENTS_PORT": "3101"}
    assert settings_from(port).addresses.events_address == "http://127.0.0.1:3101"
    url = {"ROWLOCK_EVENTS_URL": "https://events"}
    assert settings_from(port | url).addresses.events_address == "https://events"
    url = {"ROWLOCK_EVENTS_URL": "http://gateway:80/events/"}
    assert settings_from(url).addresses.events_address == "http://gateway:80/events"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3001"),
        ("0.0.0.0", "http://127.0.0.1:3001"),
        ("192.0.2.7", "http://192.0.2.7:3001"),
        ("::1", "http://[::1]:3001"),
        ("::", "http://[::1]:3001"),
        ("0:0:0:0:0:0:0:0", "http://[::1]:3001"),
        ("2001:db8::7", "http://[2001:db8::7]:3001"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:3001"),
        ("localhost", "http://localhost:3001"),
    ],
)
def test_server_url__any_host__where_this_machine_reaches_it(host: str, url: str) -> None:
    assert server_url(host, 3001) == url
    assert settings_from({"ROWLOCK_HOST": host}).addresses.events_address == url


def test_settings__others_variables__are_left_alone() -> None:
    environ = {"PATH": "/bin", "rowlock_env": "x", "XROWLOCK_ENV": "x", "ROWLOCKENV": "x"}
    environ["ROWLOCK_TEST_DATABASE_URL"] = "x"  # the test suite's
    assert settings_from(environ) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("ENV", "development", "development"),
        ("LOG_LEVEL", "error", "error"),
        *(("LOG_REQUESTS", text, True) for text in ("1", "true", "TRUE", "yes", "On")),
        *(("LOG_REQUESTS", text, False) for text in ("0", "false", "False", "no", "OFF")),
        ("HOST", "::1", "::1"),
        ("HOST", " ", " "),
        ("COMMERCE_TOKEN", "!a/b+c==~", "!a/b+c==~"),
        ("DATABASE_URL", "postgresql:///x?host=/tmp", "postgresql:///x?host=/tmp"),
        ("DATA_DIR", "/var/lib/rowlock", Path("/var/lib/rowlock")),
        ("DATA_DIR", "data", Path("data")),
        ("CORS_ORIGINS", "HTTPS://App.Example.com:443", Listed(["https://app.example.com"])),
        (
            "CORS_ORIGINS",
            "http://localhost:5173, capacitor://localhost,http://[::1]:80",
            Listed(["http://localhost:5173", "capacitor://localhost", "http://[::1]"]),
        ),
        (
            "TRUSTED_PROXIES",
            "10.0.0.0/8 , 127.0.0.1,::1",
            Listed(map(ip_network, ["10.0.0.0/8", "127.0.0.1/32", "::1/128"])),
        ),
        ("COMMERCE_PORT", "1", 1),
        ("COMMERCE_PORT", "08080", 8080),
        ("BATCH_ITEMS", "999999999", 999_999_999),
        ("CLIENT_RATE", "0", 0),
        ("CLIENT_RATE", "1000000", 1_000_000),
        ("BATCH_WAIT_S", "0", 0.0),
        ("BATCH_WAIT_S", "2", 2.0),
        ("BATCH_WAIT_S", "0.25", 0.25),
        ("BATCH_WAIT_S", "1e-3", 0.001),
        ("BATCH_WAIT_S", "2147483647.9", 2_147_483_647.9),
        ("OPENING_BALANCE", "0", 0),
        ("OPENING_BALANCE", "500", 500_00),
        ("OPENING_BALANCE", "500.0", 500_00),
        ("OPENING_BALANCE", "75.99", 75_99),
        ("OPENING_BALANCE", "0.01", 1),
        ("OPENING_BALANCE", "0.29", 29),  # 28.999… as a float
        ("OPENING_BALANCE", "1e3", 1000_00),
        ("OPENING_BALANCE", "90071992547409.91", 2**53 - 1),
    ],
)
def test_settings__good_text__is_read(variable: str, text: str, value: object) -> None:
    found = settings_from({f"ROWLOCK_{variable}": text}).values()[variable.lower()]
    assert (found, type(found)) == (value, Cents if variable == "OPENING_BALANCE" else type(value))


@pytest.mark.parametrize(
    ("variable", "texts", "must_be"),
    [
        ("ENV", ["", "prod", "PRODUCTION", " production"], "one of development, production"),
        ("LOG_LEVEL", ["", "INFO", "trace"], "one of debug, info, warning, error"),
        ("LOG_REQUESTS", ["", "2", "y", "t", " 1", "none"], "1 or 0"),
        ("HOST", [""], "a text that is not empty"),
        ("DATA_DIR", [""], "a path"),
        ("COMMERCE_PORT", [*NO_COUNTS, "0", "65536"], "a whole number from 1 to 65535"),
        ("BATCH_ITEMS", [*NO_COUNTS, "0"], "a whole number from 1 to 999999999"),
        ("CLIENT_RATE", [*NO_COUNTS, "0.5", "1000001"], "a whole number from 0 to 1000000"),
        ("BATCH_WAIT_S", NO_SECONDS, "a number of at least 0"),
        ("LOCK_TIMEOUT_S", [*NO_SECONDS, "0", "0.0009"], "a number of at least 0.001"),
        ("APPROVAL_RATE", [*NO_SECONDS, "1.01"], "a number from 0 to 1"),
        ("OPENING_BALANCE", NO_AMOUNTS, "an amount such as 500.00"),
        (
            "CORS_ORIGINS",
            NO_ORIGINS,
            "origins like https://app.example.com, with commas between them",
        ),
        (
            "TRUSTED_PROXIES",
            ["", ",", "x", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8,", "*", "10.0.0.0 /8", "1"],
            "addresses or networks like 10.0.0.0/8, with commas between them",
        ),
    ],
)
def test_settings__bad_text__refused_with_what_it_must_be(
    variable: str, texts: list[str], must_be: str
) -> None:
    for text in texts:
        with pytest.raises(InvalidSettings) as caught:
            settings_from({f"ROWLOCK_{variable}": text})
        assert str(caught.value) == f"ROWLOCK_{variable} is {text!r}, but must be {must_be}."


@pytest.mark.parametrize(
    ("variable", "must_be"),
    [
        ("COMMERCE_TOKEN", "visible ASCII characters without blanks"),
        ("DATABASE_URL", "like postgresql://user:password@host/database"),
        ("EVENTS_URL", "like https://host:port/path"),
    ],
)
def test_settings__empty_secret__refused_with_what_it_must_be(variable: str, must_be: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings_from({f"ROWLOCK_{variable}": ""})
    assert str(caught.value) == f"ROWLOCK_{variable} must be {must_be}."


@pytest.mark.parametrize("text", ["\0", "x\0"])
def test_settings__nul_character__refused_by_each(text: str) -> None:
    for setting in all_settings():  # a real environment can't hold one
        with pytest.raises(ValueError, match=r"\w"):
            kind_of(setting).read(text)


def test_settings__amount_beyond_decimal__refused() -> None:
    with pytest.raises(InvalidSettings):
        settings_from({"ROWLOCK_OPENING_BALANCE": "1e999999"})


@pytest.mark.parametrize(
    "variable", ["ROWLOCK_COLOUR", "ROWLOCK_", "ROWLOCK_Env", "ROWLOCK_ENV_", "ROWLOCK_ ENV"]
)
def test_settings__unknown_variable__refused_by_name(variable: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{variable} is not a setting of Rowlock.$"):
        settings_from({variable: "production"})


@pytest.mark.parametrize("rate", ["1.01", "2"])
def test_settings__approval_rate_above_one__refused(rate: str) -> None:
    with pytest.raises(InvalidSettings, match="ROWLOCK_APPROVAL_RATE"):
        settings_from({"ROWLOCK_APPROVAL_RATE": rate})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ROWLOCK_COMMERCE_TOKEN": None, "ROWLOCK_COMMERCE_PUBLIC": "1"},
        {"ROWLOCK_COMMERCE_PUBLIC": "1"},
    ],
)
def test_production__complete__accepted(changes: dict[str, str | None]) -> None:
    environ = {name: text for name, text in (PRODUCTION | changes).items() if text is not None}
    assert settings_from(environ, SERVICES).env == "production"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ROWLOCK_DATABASE_URL": None}, "ROWLOCK_DATABASE_URL"),
        ({"ROWLOCK_COMMERCE_TOKEN": None}, "ROWLOCK_COMMERCE_TOKEN"),
        ({"ROWLOCK_COMMERCE_TOKEN": None, "ROWLOCK_COMMERCE_PUBLIC": "0"}, "COMMERCE_PUBLIC=1"),
        ({"ROWLOCK_COMMERCE_TOKEN": "development-projects-token"}, "ROWLOCK_COMMERCE_TOKEN"),
        ({"ROWLOCK_COMMERCE_TOKEN": "development-events-token"}, "ROWLOCK_COMMERCE_TOKEN"),
        ({"ROWLOCK_EVENTS_TOKEN": None}, "ROWLOCK_EVENTS_TOKEN"),
        ({"ROWLOCK_PROJECTS_TOKEN": None}, "ROWLOCK_PROJECTS_TOKEN"),
        ({"ROWLOCK_EVENTS_TOKEN": "development-projects-token"}, "ROWLOCK_EVENTS_TOKEN"),
        ({"ROWLOCK_EVENTS_TOKEN": "the-first-secret"}, "same token"),
    ],
)
def test_production__incomplete__refused_by_name_but_fine_in_development(
    changes: dict[str, str | None], named: str
) -> None:
    environ = {name: text for name, text in (PRODUCTION | changes).items() if text is not None}
    with pytest.raises(InvalidSettings, match=named):
        settings_from(environ, SERVICES)
    development = environ | {"ROWLOCK_ENV": "development"}
    assert settings_from(development, SERVICES).env == "development"
