"""Settings from the environment: each kind of field, and what production insists on."""

from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest

from rowlock.currencies import DECIMALS
from rowlock.errors import InvalidSettings
from rowlock.services import SERVICES
from rowlock.settings import Settings, all_settings, database_urls
from rowlock.settings.kinds import Listed, kind_of
from rowlock.settings.names import server_url
from tests.support.environments import settings_from

PRODUCTION = {
    "ROWLOCK_ENV": "production",
    "ROWLOCK_DATABASE_URL": "postgresql://db/rowlock",
    "ROWLOCK_COMMERCE_TOKEN": "the-first-secret",
    "ROWLOCK_PROJECTS_TOKEN": "the-third-secret",
    "ROWLOCK_EVENTS_TOKEN": "the-second-secret",
    "ROWLOCK_CONSOLE_TOKEN": "the-fourth-secret",
    "ROWLOCK_COOKIE_KEY": "the-key-of-cookies",
}

NO_COUNTS = ["", "x", "-1", "+1", "1.0", "1e3", " 1", "1_0", "0x1", "²", "\u0661", "1000000000"]
NO_SECONDS = ["", "x", "-1", "-0.001", "nan", "inf", "-inf", "1e400", "2147483648", "1,5", "1s"]
NO_AMOUNTS = ["", "x", "-1", "-0.01", "NaN", "sNaN", "Infinity", "0.0001", "1,50", "€5"]
NO_AMOUNTS += ["9007199254740992", "1e30", "1e-9", "1e-999999", "1e400", "-1e400"]
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
        ("BATCH_WAIT_S", "2147483647", 2_147_483_647.0),
        ("CURRENCY", "EUR", "EUR"),
        ("CURRENCY", "JPY", "JPY"),
        ("OPENING_BALANCE", "0", Decimal("0")),
        ("OPENING_BALANCE", "500", Decimal("500")),
        ("OPENING_BALANCE", "500.0", Decimal("500.0")),
        ("OPENING_BALANCE", "75.99", Decimal("75.99")),
        ("OPENING_BALANCE", "0.01", Decimal("0.01")),
        ("OPENING_BALANCE", "0.29", Decimal("0.29")),  # 28.999… minor units as a float
        ("OPENING_BALANCE", "1e3", Decimal("1e3")),
        ("OPENING_BALANCE", "90071992547409.91", Decimal("90071992547409.91")),
    ],
)
def test_settings__good_text__is_read(variable: str, text: str, value: object) -> None:
    found = settings_from({f"ROWLOCK_{variable}": text}).values()[variable.lower()]
    assert (found, type(found)) == (value, type(value))


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
        ("BATCH_WAIT_S", NO_SECONDS, "a number from 0 to 2147483647"),
        (
            "LOCK_TIMEOUT_S",
            [*NO_SECONDS, "0", "0.0009", "2147484"],
            "a number from 0.001 to 2147483",
        ),
        ("READ_LAG_S", [*NO_SECONDS, "0.9", "1e308"], "a number from 1 to 2147483647"),
        ("APPROVAL_RATE", [*NO_SECONDS, "1.01"], "a number from 0 to 1"),
        (
            "OPENING_BALANCE",
            NO_AMOUNTS,
            "an amount such as 500.00, up to 9007199254740991, of 3 decimals at most",
        ),
        (
            "CURRENCY",
            ["", "eur", " EUR", "EURO", "978", "\u20ac", "XXX", "XAU", "XTS", "CLF", "BGN", "DEM"],
            "the code of a currency in ISO 4217, such as EUR",
        ),
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


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [
        ("EUR", "500.00", 50_000),
        ("EUR", "0.29", 29),
        ("EUR", "90071992547409.91", 2**53 - 1),
        ("JPY", "500", 500),
        ("JPY", "500.00", 500),
        ("JPY", "9007199254740991", 2**53 - 1),
        ("BHD", "0.001", 1),
        ("BHD", "500.00", 500_000),
    ],
)
def test_settings__opening_balance__in_minor_units_of_the_currency(
    currency: str, amount: str, minor: int
) -> None:
    settings = settings_from({"ROWLOCK_CURRENCY": currency, "ROWLOCK_OPENING_BALANCE": amount})
    assert settings.money.minor_units(settings.benefits.opening_balance) == minor


@pytest.mark.parametrize(
    ("currency", "amount", "limits"),
    [
        ("EUR", "75.999", "2 decimals at most, and not over 90071992547409.91"),
        ("EUR", "90071992547409.92", "2 decimals at most, and not over 90071992547409.91"),
        ("JPY", "0.5", "0 decimals at most, and not over 9007199254740991"),
        ("BHD", "9007199254740.992", "3 decimals at most, and not over 9007199254740.991"),
    ],
)
def test_settings__opening_balance_that_the_currency_lacks__refused(
    currency: str, amount: str, limits: str
) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings_from({"ROWLOCK_CURRENCY": currency, "ROWLOCK_OPENING_BALANCE": amount})
    assert str(caught.value) == (
        f"ROWLOCK_OPENING_BALANCE ({amount}) must be an amount of {currency}: with {limits}."
    )


def test_settings__any_currency__takes_the_defaults() -> None:
    for code, decimals in DECIMALS.items():
        settings = settings_from({"ROWLOCK_CURRENCY": code})
        opening = settings.money.minor_units(settings.benefits.opening_balance)
        assert (settings.money.decimals, opening) == (decimals, 500 * 10**decimals)


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


def test_read_urls__main_alone__events_beside_it_unless_they_have_a_primary_of_their_own() -> None:
    main = {
        "ROWLOCK_DATABASE_URL": "postgresql://db/shop",
        "ROWLOCK_READ_DATABASE_URL": "postgresql://s1,s2/shop",
    }
    assert settings_from({}).database.read_urls == {}
    urls = settings_from(main).database.read_urls
    assert urls["main"] == "postgresql://s1,s2/shop"
    assert database_urls.target(urls["events"]) == database_urls.target(
        "postgresql://s1,s2/rowlock_events"
    )
    own = main | {"ROWLOCK_EVENTS_DATABASE_URL": "postgresql://db2/log"}
    assert settings_from(own).database.read_urls.keys() == {"main"}
    own |= {"ROWLOCK_EVENTS_READ_DATABASE_URL": "postgresql://s3/log"}
    assert settings_from(own).database.read_urls["events"] == "postgresql://s3/log"


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"ROWLOCK_READ_DATABASE_URL": "postgresql://s1/shop"},
            "ROWLOCK_READ_DATABASE_URL needs ROWLOCK_DATABASE_URL: the embedded server has no "
            "standby.",
        ),
        (
            {
                "ROWLOCK_DATABASE_URL": "postgresql://db/shop",
                "ROWLOCK_READ_DATABASE_URL": "postgresql:///shop",
            },
            "ROWLOCK_READ_DATABASE_URL must name the standbys' hosts.",
        ),
        (
            {"ROWLOCK_READ_LAG_S": "1.9"},
            "ROWLOCK_READ_LAG_S (1.9) must be at least four times ROWLOCK_WATCH_S (0.5).",
        ),
    ],
)
def test_settings__standbys_that_can_not_be_used__refused(
    environ: dict[str, str], problem: str
) -> None:
    with pytest.raises(InvalidSettings) as refused:
        settings_from(environ)
    assert refused.value.message == problem
