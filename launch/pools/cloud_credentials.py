"""Credentials of clouds by reference: the names of environment variables, or a file that nobody else can read.

A file has what the cloud's own tools read: lines as `AWS_ACCESS_KEY_ID=...`, with `export` or without, as an openrc.sh has
them; sections of `~/.aws/credentials`; or the JSON of a Google service account. What is in it comes into no record, no log
and no message.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from .pool import PoolError

_LINE = re.compile(r"^\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*$")
_SECTION = re.compile(r"^\s*\[(?:profile\s+)?(?P<name>[^]]+)\]\s*$")


class Secrets(dict[str, str]):
    """Variables with credentials, by name, which show in no message."""

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self)})"

    def secrets(self, alternatives: Sequence[Sequence[str]]) -> list[str]:
        """What must be in no message: of what is known under these names, all that is no name itself."""
        names = {
            name
            for names in alternatives
            for name in names
            if name.endswith(("SECRET", "PASSWORD", "SECRET_ACCESS_KEY"))
        }
        return [self[name] for name in sorted(names | {"AWS_SESSION_TOKEN"}) if self.get(name)]


def credentials(
    file: str, profile: str, alternatives: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> Secrets:
    """The variables of a cloud's credentials.

    Args:
        file: with them; "" is the environment.
        profile: the section of the file.
        alternatives: sets of names, of which all of one must be there.
        environment: of this process.

    Raises:
        PoolError: they are not there, or others can read the file.

    Example:
        >>> credentials("", "default", [["OS_USERNAME", "OS_PASSWORD"]], {"OS_USERNAME": "me", "OS_PASSWORD": "secret"})
        Secrets(OS_USERNAME, OS_PASSWORD)
    """
    found = Secrets(_read(Path(file).expanduser(), profile) if file else environment)
    if not any(all(found.get(name) for name in names) for names in alternatives):
        where = f"{file} (section {profile})" if file else "the environment"
        wanted = " or ".join(", ".join(names) for names in alternatives)
        raise PoolError(f"{where} has no credentials for this cloud: {wanted} must be there", "refused")
    return found


def _read(file: Path, profile: str) -> dict[str, str]:
    try:
        mode, text = file.stat().st_mode, file.read_text()
    except (OSError, ValueError) as error:
        raise PoolError(f"the credentials in {file} cannot be read: {error}", "refused") from None
    if stat.S_IMODE(mode) & 0o077:
        raise PoolError(f"others can read the credentials in {file}: chmod 600 {file}", "refused")
    if text.lstrip().startswith("{"):
        return _of_json(text, file)
    found, here = {}, True
    for line in text.splitlines():
        if section := _SECTION.match(line):
            here = section["name"].strip() == profile
        elif here and (match := _LINE.match(line)):
            value = _unquoted(match["value"])
            if "$" in value and match["value"][:1] != "'":
                continue  # an openrc.sh that asks for its password: what is missing is said by name
            found[match["name"].upper()] = value
    return found


def _of_json(text: str, file: Path) -> dict[str, str]:
    """A service account of Google's, under the names that its variables have here."""
    try:
        known = json.loads(text)
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(file),
            "GOOGLE_CLIENT_EMAIL": known["client_email"],
            "GOOGLE_CLOUD_PROJECT": known["project_id"],
        }
    except (ValueError, KeyError, TypeError):
        raise PoolError(
            f"{file} is no service account of Google's: it has no client_email, project_id", "refused"
        ) from None


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
