"""Webhook credentials, with the published example of Standard Webhooks among them."""

import base64
import hashlib
import hmac

import pytest

from rowlock.projects.rules import secret_problem
from rowlock.projects.webhooks import carries_secret, is_signed

SECRET = "s3cret-of-the-shop"
BODY = b'{"id": 6, "status": "done"}'
NOW = 1_700_000_000


def signature(content: bytes, key: bytes = SECRET.encode()) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


GOOD = signature(f"msg_1.{NOW}.".encode() + BODY)


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (SECRET, True),
        (f"Bearer {SECRET}", True),
        (f"bearer   {SECRET}", True),
        (SECRET + "x", False),
        (SECRET[:-1], False),
        ("", False),
        ("Bearer", False),
        ("Bearer ", False),
        (f"Basic {SECRET}", False),
        ("\udcff\udc80", False),
    ],
)
def test_sends__header__bare_or_bearer(authorization: str, expected: bool) -> None:
    assert carries_secret(authorization, SECRET) is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"webhook-signature": f"v1,bm90 {GOOD} v1a,x"}, True),
        ({"webhook-signature": f"v1,bm90 v2,{GOOD[3:]}"}, False),
        ({"webhook-signature": GOOD[3:]}, False),
        ({"webhook-signature": ""}, False),
        ({"webhook-signature": "v1,\udcff"}, False),
        ({"webhook-id": "msg_2"}, False),
        ({"webhook-id": ""}, False),
        ({"webhook-id": "msg\udcff"}, False),
        ({"webhook-timestamp": str(NOW + 1)}, False),
        ({"webhook-timestamp": "x"}, False),
        ({"webhook-timestamp": "9" * 400}, False),
    ],
)
def test_signs__headers__one_valid_signature_needed(
    changes: dict[str, str], expected: bool
) -> None:
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": GOOD}
    assert is_signed(headers | changes, BODY, SECRET, now_s=NOW, tolerance_s=300) is expected


@pytest.mark.parametrize(
    ("now_s", "expected"),
    [(NOW - 301, False), (NOW - 300, True), (NOW + 300, True), (NOW + 301, False)],
)
def test_signs__time__five_minutes_either_way(now_s: int, expected: bool) -> None:
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": GOOD}
    assert is_signed(headers, BODY, SECRET, now_s=now_s, tolerance_s=300) is expected


def test_signs__other_body_or_secret__false() -> None:
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": GOOD}
    assert not is_signed(headers, BODY + b" ", SECRET, now_s=NOW, tolerance_s=300)
    assert not is_signed(headers, BODY, "other", now_s=NOW, tolerance_s=300)


def test_signs__example_of_the_standard__valid() -> None:
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/README.md
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    assert is_signed(headers, body, secret, now_s=1614265330, tolerance_s=300)


def test_signs__secret_with_a_broken_prefix__key_is_the_text_itself() -> None:
    secret = "whsec_not base64!"
    content = f"msg_1.{NOW}.".encode() + BODY
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": signature(content, secret.encode()),
    }
    assert is_signed(headers, BODY, secret, now_s=NOW, tolerance_s=300)


def whsec(length: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * length).decode()


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (whsec(24), True),
        (whsec(32), True),
        (whsec(64), True),
        ("s3cret", True),
        (whsec(32).removeprefix("whsec_"), True),
        ("whsec", True),
        ("whsec_", False),
        (whsec(23), False),
        (whsec(65), False),
        (whsec(32)[:-1], False),
        ("whsec_é", False),
        ("whsec_ " + whsec(32)[6:], False),
    ],
)
def test_problem__secret__prefixed_ones_have_a_key_of_24_to_64_bytes(
    secret: str, expected: bool
) -> None:
    assert (secret_problem(secret) is None) is expected


@pytest.mark.parametrize("prefix", ["whsec_", ""])
@pytest.mark.parametrize(("length", "expected"), [(0, False), (23, False), (24, True), (64, True)])
def test_signs__key_in_base64__with_or_without_prefix_if_it_is_long_enough(
    prefix: str, length: int, expected: bool
) -> None:
    key = b"k" * length
    secret = prefix + base64.b64encode(key).decode()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": signature(f"msg_1.{NOW}.".encode() + BODY, key),
    }
    if secret:
        assert is_signed(headers, BODY, secret, now_s=NOW, tolerance_s=300) is expected
