"""What clouds say when they do not do what they are asked for, in words, and without what is secret in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .pool import PoolError, Trouble

if TYPE_CHECKING:
    from .cloud import Cloud
    from .cloud_quirks import Quirks

_LONGEST = 400


@contextlib.contextmanager
def told(cloud: Cloud, what: str, *secrets: str) -> Iterator[None]:
    """Errors of libcloud, and of what it uses, as `PoolError`.

    Args:
        what: what the cloud does not do, as "starts no machine".
        secrets: what must not be in a message.
    """
    from libcloud.common.exceptions import BaseHTTPError
    from libcloud.common.types import InvalidCredsError, LibcloudError

    where = f"{cloud.driver} at {cloud.endpoint}" if cloud.endpoint else f"{cloud.driver} {cloud.region}".strip()
    try:
        yield
    except InvalidCredsError as error:
        words = _shown(str(error.value), secrets)
        raise PoolError(f"{where} does not know these credentials: {words}", "refused") from None
    except BaseHTTPError as error:
        words, trouble = in_words(cloud.quirks, error.code or 0, str(error.message))
        raise PoolError(f"{where} {what}: {_shown(words, secrets)}", trouble) from None
    except (LibcloudError, OSError) as error:
        # What is raised below libcloud has URLs in it, and some of them have user-data.
        said = _shown(str(error.value), secrets) if isinstance(error, LibcloudError) else _of_connection(error)
        raise PoolError(f"{where} does not answer: {said}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        said = _shown(f"{type(error).__name__}: {error}", secrets)
        raise PoolError(f"{where} {what}: libcloud does not get on with it ({said})", "refused") from None


def in_words(quirks: Quirks, code: int, message: str) -> tuple[str, Trouble]:
    """What an answer of a cloud means, and what kind of trouble it is.

    Example:
        >>> from .cloud_quirks import QUIRKS
        >>> in_words(QUIRKS["ec2"], 400, "VcpuLimitExceeded: you have requested more")[1]
        'full'
        >>> in_words(QUIRKS["ec2"], 403, "UnauthorizedOperation: you are not authorized")
        ('these credentials may not do that (UnauthorizedOperation: you are not authorized)', 'refused')
    """
    lower = message.lower()
    if any(word.lower() in lower for word in quirks.full):
        return message, "full"
    if code == 429 or code >= 500 or "RequestLimitExceeded" in message or "Throttling" in message:
        return message, "down"
    if code in (401, 403) or any(word.lower() in lower for word in quirks.forbidden):
        return f"these credentials may not do that ({message})", "refused"
    return message, "refused"


def _of_connection(error: OSError) -> str:
    """Why there is no connection, without the URL."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        reason = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        following = reason if isinstance(reason, BaseException) else cause.__cause__ or cause.__context__
        cause = following if following is not cause else None
    return type(error).__name__


def _shown(words: str, secrets: tuple[str, ...]) -> str:
    for secret in filter(None, secrets):
        words = words.replace(secret.strip(), "(secret)")
    return words if len(words) <= _LONGEST else words[:_LONGEST] + "..."
