"""User-data as cloud-init reads it: put together, written as YAML, and made to fit a provider's limit."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

from ..pools.pool import PoolError

HEADER = "#cloud-config\n"
"""The first line, by which cloud-init knows what this is."""
_UNUSUAL = re.compile("[^\\n\\x20-\\x7e\\xa1-\\u2027\\u202a-\\ud7ff]")
"""What is only safe in quotes: control characters, and what YAML takes for the end of a line."""


class ContextError(PoolError):
    """A context cannot be what it says, or does not fit the provider. It is refused: asking again does not help."""

    def __init__(self, words: str) -> None:
        super().__init__(words, "refused")


def file_entry(path: str, content: str, mode: int) -> dict[str, Any]:
    """A file of root's that cloud-init is to write.

    Example:
        >>> file_entry("/var/lib/eventmill/token", "secret", 0o600)["permissions"]
        '0600'
    """
    return {"path": path, "owner": "root:root", "permissions": f"{mode:04o}", "content": content}


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Ours and a user's own cloud-config: lists one after the other, theirs first; tables key by key.

    Theirs go first so that what ours starts finds what theirs sets up.

    Raises:
        ContextError: both say something of the same key, and not the same.

    Example:
        >>> merged({"runcmd": ["ours"]}, {"runcmd": ["theirs"], "locale": "C.UTF-8"})
        {'runcmd': ['theirs', 'ours'], 'locale': 'C.UTF-8'}
    """
    both = dict(ours)
    for key, theirs_of in theirs.items():
        ours_of, name = ours.get(key), f"{where}{key}"
        if key not in ours or ours_of == theirs_of:
            both[key] = theirs_of
        elif isinstance(ours_of, list) and isinstance(theirs_of, list):
            both[key] = [*theirs_of, *ours_of]
        elif isinstance(ours_of, dict) and isinstance(theirs_of, dict):
            both[key] = merged(ours_of, theirs_of, f"{name}.")
        else:
            raise ContextError(
                f"cloud_config: {name} = {theirs_of!r} does not go with {ours_of!r}, which this context needs: leave it out"
            )
    return both


def written(config: Mapping[str, Any]) -> str:
    """A cloud-config as user-data."""
    text: str = yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return HEADER + text


def fitted(user_data: str, limit: int, compress: bool = False) -> bytes:
    """User-data as it is sent to a provider.

    Args:
        limit: of the provider, in bytes, before base64.
        compress: the provider hands compressed user-data on as they are; cloud-init unpacks them. They are compressed if
            they would be too long otherwise.

    Raises:
        ContextError: they are too long; it says what takes the room.

    Example:
        >>> fitted("#cloud-config\\n{}\\n", limit=16384)
        b'#cloud-config\\n{}\\n'
    """
    data = user_data.encode()
    if len(data) > limit and compress:
        data = gzip.compress(data, mtime=0)
    if len(data) <= limit:
        return data
    kind = "compressed " if compress else ""
    raise ContextError(
        f"the {kind}user-data has {len(data)} bytes, and the provider takes {limit}; most of it: {_largest(user_data)}. "
        "Have the machine fetch what is large (commands), or take an image that has it"
    )


def _largest(user_data: str) -> str:
    """What takes the most room in user-data, in words."""
    sizes: dict[str, int] = {}
    for key, value in yaml.safe_load(user_data).items():
        if key == "write_files":
            sizes |= {entry["path"]: len(str(entry.get("content", "")).encode()) for entry in value}
        else:
            sizes[key] = len(str(value).encode())
    most = sorted(sizes, key=lambda name: -sizes[name])[:3]
    return ", ".join(f"{name} ({sizes[name]} bytes)" for name in most)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Texts of several lines as blocks, so that scripts can be read; no anchors for what stands there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> Any:
    style = '"' if _UNUSUAL.search(text) else "|" if "\n" in text and not text[0].isspace() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
