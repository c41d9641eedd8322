"""What has a secret in it is known as such, however large it is and wherever in it that stands."""

from __future__ import annotations

import pytest
from eventmill.protocol.addresses import has_secret

SECRETS = [
    b"https://h/a.root?authz=x", b"?x&ToKen=x", b"?access_token=", b"&SIGNATURE=", b"?sig=", b"?X-Amz-Credential=",
    b"root://ada:word@host//a.root", b"://" + b"a" * 200 + b":" + b"b" * 200 + b"@",
]  # fmt: skip
HARMLESS = [b"authz=x", b"?mytoken=x", b"?version=2&author=", b"ada:word@host", b"root://ada@host:1094//", b"?x-amz-="]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_wherever_it_stands(secret: bytes) -> None:
    """Also where what is looked through at a time ends."""
    for before in (0, 2**20 - len(secret), 2**20 - len(secret) + 1, 2**20 - len(secret) // 2, 2**20 - 1, 2**20):
        content = bytes(before) + secret + bytes(1000)
        assert has_secret(content) and has_secret(memoryview(content))


@pytest.mark.parametrize("harmless", HARMLESS)
def test_what_only_looks_like_one_is_none(harmless: bytes) -> None:
    assert not has_secret(harmless) and not has_secret(harmless.decode()) and not has_secret(b"")
