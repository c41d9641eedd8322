"""Whether cloud-init will understand a cloud-config, by its own schema, which comes with this package.

Cloud-init itself reads on over a key that it does not know, and a machine that lacks something is noticed when its worker
does not come. So what is wrong is said before a machine is asked for, with the key and the names that are like it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ...protocol.errors import nearest
from .cloud_config import ContextError

if TYPE_CHECKING:
    from jsonschema import Draft4Validator, ValidationError

FILE = "schema-cloud-config-v1.json"
_MOST = 5
"""Faults that are told at once."""
_SHOWN = 60
"""Characters of a value that are."""


def check(config: Mapping[str, Any], where: str) -> None:
    """Raise `ContextError` with what cloud-init would not understand in a cloud-config, if there is something.

    Args:
        where: what it is, as a message begins.

    Example:
        >>> check({"runcmd": [["mount", "/data"]]}, "my.yaml")
        >>> check({"runcmds": [["mount", "/data"]]}, "my.yaml")
        Traceback (most recent call last):
        eventmill.launch.contexts.cloud_config.ContextError: my.yaml: no key 'runcmds'; the nearest names are runcmd
    """
    faults = [words for error in _validator().iter_errors(dict(config)) for words in _in_words(error)]
    if faults:
        more = f"; and {len(faults) - _MOST} more" if len(faults) > _MOST else ""
        raise ContextError(f"{where}: {'; '.join(dict.fromkeys(faults[:_MOST]))}{more}")


@functools.cache
def _validator() -> Draft4Validator:
    try:
        from jsonschema import Draft4Validator
    except ImportError:
        raise ContextError('contexts need jsonschema: pip install "eventmill[cloud]"') from None
    return Draft4Validator(json.loads((files(__package__) / "assets" / FILE).read_text()))


def _in_words(error: ValidationError) -> Iterator[str]:
    """What is wrong, where; of a value that may be one of several things: with the one that it is most like."""
    if error.context:
        yield from _in_words(min(error.context, key=_unlikeness))
        return
    path = ".".join(str(part) for part in error.absolute_path)
    begin = f"{path}: " if path else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for key in sorted(set(error.instance) - set(known), key=str):
            yield f"{begin}no key {key!r}{nearest(str(key), known, few=12)}"
    elif error.validator == "type":
        expected = error.validator_value
        kinds = " or ".join([expected] if isinstance(expected, str) else expected)
        yield f"{begin}it is to be of type {kinds}, and is {_shortened(error.instance)}"
    elif error.validator == "required":
        yield f"{begin}it lacks {', '.join(key for key in error.validator_value if key not in error.instance)}"
    elif error.validator in ("minItems", "minLength", "minProperties"):
        yield f"{begin}it is empty: leave it out"
    elif error.validator == "enum":
        yield f"{begin}it is to be one of {', '.join(map(str, error.validator_value))}, and is {_shortened(error.instance)}"
    else:
        yield f"{begin}{_shortened(error.instance)} is not as {error.validator} {_shortened(error.validator_value)} has it"


def _unlikeness(error: ValidationError) -> tuple[int, int]:
    """How little a value is like one of the things that it may be: a key too many is nearest, another type farthest."""
    rank = {"additionalProperties": 0, "required": 2, "type": 3}.get(str(error.validator), 1)
    return rank, -len(error.absolute_path)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
