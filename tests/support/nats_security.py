"""What a secured NATS needs: certificates, and accounts by signed tokens, made for a test."""

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import nkeys  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

UNLIMITED = {
    **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1),
    "wildcards": True,
}
JETSTREAM = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
{token}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


class Certificates(NamedTuple):
    """Files: an authority, and a certificate with its key of each side."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def certify(folder: Path) -> Certificates:
    """Make an authority, and what it certifies: a server at 127.0.0.1, and a client."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _named("authority")
    ca = _certificate(ca_name, ca_key, ca_name, ca_key, ca=True)
    files = Certificates(
        *(
            folder / name
            for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
        )
    )
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name, path, key_path in (
        ("server", files.server, files.server_key),
        ("client", files.client, files.client_key),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(_named(name), key, ca_name, ca_key, ca=False)
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return files


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(address, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )


class Accounts(NamedTuple):
    """What a server's configuration says of its accounts, and a user's credentials."""

    config: str
    credentials: Path


def open_accounts(folder: Path) -> Accounts:
    """Make an operator with an account that has JetStream, and a user of that account."""
    operator, account, system, user = (
        _key(kind)
        for kind in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
        )
    )
    resolved = "\n".join(
        f"  {_name(each)}: {_token(operator, each, 'account', limits=limits)}"
        for each, limits in ((account, UNLIMITED | JETSTREAM), (system, UNLIMITED))
    )
    config = (
        f"operator: {_token(operator, operator, 'operator')}\n"
        f"system_account: {_name(system)}\n"
        f"resolver: MEMORY\nresolver_preload: {{\n{resolved}\n}}\n"
    )
    token = _token(account, user, "user", pub={}, sub={}, subs=-1, data=-1, payload=-1)
    credentials = folder / "user.creds"
    credentials.write_text(CREDENTIALS.format(token=token, seed=user.seed.decode()))
    return Accounts(config, credentials)


def _key(kind: int) -> Any:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), kind)))


def _name(key: Any) -> str:
    return str(key.public_key.decode())


def _token(issuer: Any, subject: Any, kind: str, **fields: Any) -> str:
    """A token of NATS, by which `issuer` says what `subject` is."""
    claims = {
        "jti": os.urandom(8).hex(),
        "iat": int(datetime.now(UTC).timestamp()),
        "iss": _name(issuer),
        "name": kind,
        "sub": _name(subject),
        "nats": {"type": kind, "version": 2, **fields},
    }
    parts = [_encode(json.dumps(each)) for each in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)]
    signed = ".".join(parts)
    return f"{signed}.{_encode(issuer.sign(signed.encode()))}"


def _encode(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
