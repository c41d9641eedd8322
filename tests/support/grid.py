"""A small grid for tests: an authority, the certificate of a server, and what its users show: tokens, proxies, keytabs."""

from __future__ import annotations

import base64
import datetime
import json
import secrets
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER = "https://localhost:8443"
"""Who makes the tokens. Nobody is there: its keys are in the cache of the server that asks for them."""
AUDIENCE = "https://xrootd.test"
_PEM = serialization.Encoding.PEM
_PLAIN = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()


class Grid:
    """Certificates and keys in a folder.

    Args:
        folder: an empty folder; a server that runs as `nobody` can read what it needs of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificates = folder / "certificates"
        self.certificates.mkdir()
        self._key, self._authority = self._make_authority()
        self.host_certificate, self.host_key = self._make_host()
        self._signer = ec.generate_private_key(ec.SECP256R1())
        self.tokens_cache = folder / "cache"
        self._fill_tokens_cache()
        self.server_keytab = folder / "server.keytab"
        self._keys: dict[str, str] = {}

    def let_in(self, user: str) -> None:
        """Give a server that runs as `user` what is its own."""
        for path in (self.folder, self.host_key, self.server_keytab, *self.tokens_cache.rglob("*"), self.tokens_cache):
            if path.exists():
                shutil.chown(path, user)

    # --- certificates -------------------------------------------------------------------------------------------------

    def _make_authority(self) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        key = rsa.generate_private_key(65537, 2048)
        name = _name("CA")
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = _certificate(name, name, key, 365).add_extension(x509.BasicConstraints(True, None), True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        certificate = builder.add_extension(usage, True).sign(key, hashes.SHA256())
        file = self.certificates / "ca.pem"
        file.write_bytes(certificate.public_bytes(_PEM))
        command = ["openssl", "x509", "-hash", "-noout", "-in", str(file)]
        short = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        file.rename(self.certificates / f"{short}.0")
        (self.certificates / f"{short}.signing_policy").write_text(
            "access_id_CA X509 '/DC=org/DC=test/CN=CA'\npos_rights globus CA:sign\n"
            "cond_subjects globus '\"/DC=org/DC=test/*\"'\n"
        )
        return key, certificate

    def _make_host(self) -> tuple[Path, Path]:
        key = rsa.generate_private_key(65537, 2048)
        names = [x509.DNSName("localhost")]
        builder = _certificate(_name("localhost"), self._authority.subject, key, 30)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self._key.public_key()
        )  # from Python 3.13 on a must
        builder = builder.add_extension(issuer, False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = builder.add_extension(usage, False).sign(self._key, hashes.SHA256())
        files = self.folder / "host.pem", self.folder / "host.key"
        files[0].write_bytes(certificate.public_bytes(_PEM))
        _write_private(files[1], key.private_bytes(_PEM, *_PLAIN))
        return files

    def proxy(self, user: str, path: Path, hours: float = 12.0) -> Path:
        """The file of an RFC 3820 proxy of a user, as `voms-proxy-init` makes it; of less than 0 hours, one that is over."""
        own = rsa.generate_private_key(65537, 2048)
        builder = _certificate(_name(user), self._authority.subject, own, 30)
        usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
        certificate = builder.add_extension(usage, True).sign(self._key, hashes.SHA256())
        key = rsa.generate_private_key(65537, 2048)
        serial = secrets.randbits(31)
        subject = x509.Name([*certificate.subject, x509.NameAttribute(NameOID.COMMON_NAME, str(serial))])
        information = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), bytes.fromhex("300c300a06082b06010505071501")
        )
        builder = _certificate(subject, certificate.subject, key, hours / 24, serial).add_extension(information, True)
        signed = builder.add_extension(usage, True).sign(own, hashes.SHA256())
        parts = signed.public_bytes(_PEM), key.private_bytes(_PEM, *_PLAIN), certificate.public_bytes(_PEM)
        _write_private(path, b"".join(parts))
        return path

    # --- tokens -------------------------------------------------------------------------------------------------------

    def token(self, scope: str = "storage.read:/", seconds: float = 3600.0, audience: str = AUDIENCE) -> str:
        """A WLCG token of the user alice."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": "alice", "aud": audience, "scope": scope, "wlcg.ver": "1.0", "jti": secrets.token_hex(8),
            "iat": now - 10, "nbf": now - 10, "exp": now + int(seconds),
        }  # fmt: skip
        body = f"{_encoded({'typ': 'JWT', 'alg': 'ES256', 'kid': 'key'})}.{_encoded(claims)}"
        numbers = decode_dss_signature(self._signer.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{body}.{_base64(b''.join(number.to_bytes(32, 'big') for number in numbers))}"

    def _fill_tokens_cache(self) -> None:
        """What the server's library would fetch from the issuer."""
        point = self._signer.public_key().public_numbers()
        x, y = (_base64(number.to_bytes(32, "big")) for number in (point.x, point.y))
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "key", "x": x, "y": y}
        day = int(time.time()) + 86400
        entry = {"expires": day, "next_update": day, "jwks": {"keys": [key]}}
        folder = self.tokens_cache / "scitokens"
        folder.mkdir(parents=True)
        database = sqlite3.connect(folder / "scitokens_cpp.sqllite")
        database.execute("CREATE TABLE keycache (issuer text UNIQUE PRIMARY KEY NOT NULL, keys text NOT NULL)")
        database.execute("INSERT INTO keycache VALUES (?, ?)", (ISSUER, json.dumps(entry)))
        database.commit()
        database.close()

    # --- shared secrets -----------------------------------------------------------------------------------------------

    def keytab(self, user: str, path: Path) -> Path:
        """The keytab of a user; the server, if it is not running yet, knows the key too."""
        now = int(time.time())
        number = (now << 32) + len(self._keys) + 1  # two of one number would be taken for the same
        self._keys[user] = f"0 u:{user} g:users n:{user} N:{number} c:{now} e:0 f:0 k:{secrets.token_hex(32)}\n"
        _write_private(path, self._keys[user].encode())
        _write_private(self.server_keytab, "".join(self._keys.values()).encode())
        return path


def _name(common: str) -> x509.Name:
    parts = (NameOID.DOMAIN_COMPONENT, "org"), (NameOID.DOMAIN_COMPONENT, "test"), (NameOID.COMMON_NAME, common)
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, days: float, serial: int | None = None
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    begin = now - datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(serial or x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(now + datetime.timedelta(days=days))


def _write_private(path: Path, data: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(data)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encoded(thing: object) -> str:
    return _base64(json.dumps(thing).encode())
