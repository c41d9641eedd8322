"""A store of objects on this machine: moto answers as S3 does, and s3fs reads and writes, from folders of their own.

What uses it runs in a process of its own, with the variables that `s3_site` gives: botocore wants another dateutil than the
process of the tests has.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from adopted import without
from ec2_site import MOTO

from tests.world.fleet import eventually, free_port

S3FS = Path(os.environ.get("EVENTMILL_S3FS", Path.home() / ".cache" / "eventmill-tests" / "s3fs-2026.9.0"))
SECONDS = 60
"""In which moto has to answer."""


@contextlib.contextmanager
def s3_site(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which boto's programs find the store, which has one bucket, `bucket`."""
    if not (MOTO / "is-whole").exists() or not (S3FS / "is-whole").exists():
        without("no moto, or no s3fs: `make s3` installs what tests need")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(MOTO / "bin" / "python"), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("w") as log:
        moto = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        eventually(lambda: _has_bucket(address), "moto answers", SECONDS)
        yield {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "PYTHONPATH": str(S3FS / "lib"),
        }
    finally:
        moto.terminate()
        moto.wait(SECONDS)


def _has_bucket(address: str) -> bool:
    """Whether the store is there, and has a bucket by now."""
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT"), timeout=SECONDS):
            return True
    except OSError:
        return False
