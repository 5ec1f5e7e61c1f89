"""Subscriptions: patterns, signatures, pauses, and addresses to which nothing is posted."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from rowlock.subscriptions.addresses import is_refused, read_address, url_problem
from rowlock.subscriptions.rules import (
    JITTER,
    PAUSES,
    Matcher,
    Outcome,
    is_pattern,
    judge,
    like,
    new_secret,
    parse_retry_after,
    pause_after,
    sign,
    stop_reason,
)

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("invoice.paid", "invoice.paid", True),
        ("invoice.paid", "invoice.paid.twice", False),
        ("invoice.*", "invoice.paid", True),
        ("invoice.*", "invoice.paid.twice", True),
        ("invoice.*", "invoice", False),
        ("invoice.*", "invoices.paid", False),
        ("*", "anything", True),
        ("order_line.*", "orderXline.added", False),
        ("50%.*", "50%.off", True),
        ("50%.*", "500.off", False),
    ],
)
def test_pattern__of_names__matches_what_begins_so(pattern: str, name: str, matches: bool) -> None:
    assert is_pattern(pattern)
    assert Matcher([pattern], None).matches(name, None) is matches


@pytest.mark.parametrize("text", ["", "in*voice", "*.paid", "invoice*", "**", "invoice..*", ".*"])
def test_pattern__star_elsewhere__is_none(text: str) -> None:
    assert not is_pattern(text)


def test_like__special_characters__escaped() -> None:
    assert like("a_b%c\\.*") == "a\\_b\\%c\\\\.%"
    assert like("*") == "%"
    assert like("invoice.paid") == "invoice.paid"


@given(body=st.binary(max_size=200).map(lambda body: body.hex()))
def test_signature__any_body__verified_by_the_official_library_and_by_no_other_secret(
    body: str,
) -> None:
    secret, other = new_secret(), new_secret()
    timestamp = int(datetime.now(UTC).timestamp())
    content = f'"{body}"'
    headers = {
        "webhook-id": "12",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, "12", timestamp, content.encode()),
    }
    assert Webhook(secret).verify(content, headers) == body
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(content, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(content, headers | {"webhook-id": "13"})


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (200, None),
        (204, None),
        (299, None),
        (300, "http_300"),
        (199, "http_199"),
        (500, "http_500"),
    ],
)
def test_judge__status__2xx_alone_is_a_success(status: int, problem: str | None) -> None:
    assert judge(status, None, NOW).problem == problem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0),
        ("120", 120),
        ("999999999", 86_400),
        ("9999999999999", 86_400),
        ("Sat, 21 Nov 2026 09:31:00 GMT", 60),
        ("Sat, 21 Nov 2026 09:29:00 GMT", 0),
        ("Sat, 21 Nov 2099 09:31:00 GMT", 86_400),
        ("9" * 5000, 86_400),
        ("Sat, 21 Nov 2026 09:31:00", None),
    ],
)
def test_retry_after__as_sent__a_day_at_most(text: str | None, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_retry_after(text, NOW) == expected


def test_pauses__in_all__about_three_days_and_ever_longer() -> None:
    pauses = [pause_after(n, Outcome(500, "http_500"), 5, 0.5) for n in range(1, 12)]
    assert pauses[-1] is None
    known = [pause for pause in pauses if pause is not None]
    assert len(known) == len(PAUSES)
    assert timedelta(days=2.9) < sum(known, timedelta()) < timedelta(days=3.1)
    assert all(one < other for one, other in pairwise(known))


@given(attempts=st.integers(1, len(PAUSES)), random=st.floats(0, 1))
def test_pause__jitter__within_its_bounds_and_never_below_what_is_asked_for(
    attempts: int, random: float
) -> None:
    plain = timedelta(seconds=5 * PAUSES[attempts - 1])
    pause = pause_after(attempts, Outcome(500, "http_500"), 5, random)
    assert pause is not None
    assert plain * (1 - JITTER) * 0.999 <= pause <= plain * (1 + JITTER) * 1.001
    asked = Outcome(503, "http_503", timedelta(days=1))
    assert pause_after(attempts, asked, 5, random) == max(pause, timedelta(days=1))


@pytest.mark.parametrize(
    ("status", "days", "reason"),
    [
        (410, 0, ("ended", "gone")),
        (500, 0, None),
        (500, 4.99, None),
        (500, 5, ("disabled", "failing")),
        (None, 6, ("disabled", "failing")),
        (410, 6, ("ended", "gone")),
    ],
)
def test_stop__after_failures__for_410_and_for_five_days(
    status: int | None, days: float, reason: tuple[str, str] | None
) -> None:
    outcome = Outcome(status, "problem")
    since = NOW - timedelta(days=days)
    assert stop_reason(outcome, since, NOW, timedelta(days=5)) == reason


HOSTILE = [
    "http://127.0.0.1/",
    "http://127.0.0.1:3001/subscriptions",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://0x7F.1/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data",
    "http://169.254.169.254/latest/meta-data",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://0251.0376.0251.0376/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://224.0.0.1/",
    "http://239.255.255.255/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://198.18.0.1/",
    "http://192.88.99.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[100::1]/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "http:example.com",
    "http:/example.com",
    "http:///path",
    "http://",
    "",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://example.com:80@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com/#fragment",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http://%31%32%37.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://[fe80::1%25eth0]/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:port/",
    "http://exa mple.com/",
    "http://example.com/a b",
    "http://example.com/\r\nHost: inside",
    "http://example.com/\x00",
    "http://ex\u00e4mple.com/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://134744072/",
    "http://[::1",
    "http://[/",
    "http://]/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_url__hostile__refused(url: str) -> None:
    problem = url_problem(url, private=False, https_only=False)
    assert problem is not None
    assert problem.startswith("Must ")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://example.com",
        "HTTPS://EXAMPLE.COM/Hook",
        "https://example.com:8443/hooks?key=a%20b&x=1",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://xn--exmple-cua.com/",
        "https://dead.beef.example/",
    ],
)
def test_url__of_the_public_internet__taken(url: str) -> None:
    assert url_problem(url, private=False, https_only=False) is None


def test_url__plain_http__refused_in_production_unless_it_is_allowed() -> None:
    plain = "http://example.com/"
    assert url_problem(plain, private=False, https_only=True) == "Must start with https://."
    assert url_problem(plain, private=True, https_only=True) is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "http://[::1]/", "http://localhost/"])
def test_url__private__taken_where_it_is_allowed(url: str) -> None:
    assert url_problem(url, private=True, https_only=False) is None


@given(st.ip_addresses(v=4))
def test_address__not_global__refused(address: object) -> None:
    read = read_address(str(address))
    assert read is not None
    if not read.is_global or read.is_multicast:
        assert is_refused(read)


@given(st.ip_addresses(v=6))
def test_address__not_global_unicast__refused(address: object) -> None:
    read = read_address(str(address))
    assert read is not None
    if not read.is_global or read.is_multicast:
        assert is_refused(read)
