"""Verifying webhooks, with the official library and the service's own signature as senders."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook as Official

from rowlock.client import WebhookRefused, verify
from rowlock.subscriptions.rules import sign

SECRET, OTHER = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
NOW_S = AT.timestamp()
BODY = json.dumps(
    {"type": "invoice.paid", "timestamp": "2026-11-21T09:30:00.250000Z", "data": {"invoice_id": 1}}
).encode()


def signed(secret: str = SECRET, body: bytes = BODY, webhook_id: str = "12") -> dict[str, str]:
    """Headers as the official library makes them."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(NOW_S)),
        "webhook-signature": Official(secret).sign(webhook_id, AT, body.decode()),
    }


def test_verify__signed_by_the_official_library__read() -> None:
    webhook = verify(SECRET, signed(), BODY, now_s=NOW_S)
    assert (webhook.id, webhook.type, webhook.data) == ("12", "invoice.paid", {"invoice_id": 1})
    assert webhook.timestamp == datetime(2026, 11, 21, 9, 30, 0, 250_000, UTC)
    assert not webhook.is_test
    assert verify(SECRET, signed(webhook_id="test_1"), BODY, now_s=NOW_S).is_test


def test_verify__signed_by_the_service__read_by_both_secrets_during_a_rotation() -> None:
    signatures = " ".join(sign(secret, "12", int(NOW_S), BODY) for secret in (SECRET, OTHER))
    headers = {**signed(), "webhook-signature": signatures}
    for secrets in (SECRET, OTHER, [OTHER, SECRET], (OTHER,)):
        assert verify(secrets, headers, BODY, now_s=NOW_S).id == "12"


def test_verify__new_and_old_secret_given__either_signature_will_do() -> None:
    for secret in (SECRET, OTHER):
        assert verify([SECRET, OTHER], signed(secret), BODY, now_s=NOW_S).id == "12"


@pytest.mark.parametrize("change", [str.upper, str.title, str.lower])
def test_verify__names_of_headers__in_any_case(change: object) -> None:
    assert callable(change)
    headers = {change(name): text for name, text in signed().items()}
    assert verify(SECRET, headers, BODY, now_s=NOW_S).id == "12"


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({}, BODY, "are needed"),
        ({**signed(), "webhook-id": "13"}, BODY, "No signature"),
        ({**signed(), "webhook-timestamp": str(int(NOW_S) + 1)}, BODY, "No signature"),
        ({**signed(), "webhook-timestamp": "soon"}, BODY, "whole seconds"),
        ({**signed(), "webhook-timestamp": "9" * 5000}, BODY, "whole seconds"),
        ({**signed(), "webhook-timestamp": "٣"}, BODY, "whole seconds"),
        ({**signed(), "webhook-signature": ""}, BODY, "are needed"),
        ({**signed(), "webhook-signature": "v1,"}, BODY, "No signature"),
        ({**signed(), "webhook-signature": "v1,\udcff é"}, BODY, "No signature"),
        ({**signed(), "webhook-signature": signed()["webhook-signature"][3:]}, BODY, "No signat"),
        (signed(OTHER), BODY, "No signature"),
        (signed(), BODY + b" ", "No signature"),
        (signed(body=b"[]"), b"[]", "not one of Rowlock's"),
        (signed(body=b"{}"), b"{}", "not one of Rowlock's"),
        (signed(body=b"x"), b"x", "not one of Rowlock's"),
    ],
)
def test_verify__anything_else__refused(
    headers: Mapping[str, str], body: bytes, words: str
) -> None:
    with pytest.raises(WebhookRefused, match=words):
        verify(SECRET, headers, body, now_s=NOW_S)


def test_verify__too_old_or_ahead__refused_beyond_the_tolerance() -> None:
    for skew in (-300, 300):
        assert verify(SECRET, signed(), BODY, now_s=NOW_S + skew).id == "12"
        with pytest.raises(WebhookRefused, match="more than 299 s"):
            verify(SECRET, signed(), BODY, now_s=NOW_S + skew, tolerance_s=299)
    with pytest.raises(WebhookRefused, match="old or ahead"):
        verify(SECRET, signed(), BODY)  # by this machine's clock


@pytest.mark.parametrize("secrets", ["", [], [SECRET, ""], "whsec_!", "whsec_", [SECRET, "whsec_"]])
def test_verify__no_secret__is_the_receivers_mistake(secrets: str | list[str]) -> None:
    with pytest.raises(ValueError, match=r"(?i)secret") as caught:
        verify(secrets, signed(), BODY, now_s=NOW_S)
    assert not isinstance(caught.value, WebhookRefused)
