"""Foreign exceptions: what one says and holds that a user's class has made, whatever that class does when it is asked.

Its `__str__` may raise or end the process, its `__notes__` be a property or a text, its `__getattr__` answer everything.
Nothing raises here, since who asks is about to tell somebody of this very exception.
"""

from __future__ import annotations

from typing import Any

_FRAMES = ("__traceback__", "__context__", "__cause__")


def class_name(error: BaseException) -> str:
    """What its class is called.

    Example:
        >>> class_name(ValueError("no"))
        'ValueError'
    """
    return str.__str__(type.__dict__["__qualname__"].__get__(type(error)))


def text_of(error: BaseException) -> str:
    """What it says.

    Example:
        >>> class Mute(Exception):
        ...     def __str__(self):
        ...         raise SystemExit
        >>> text_of(ValueError("no")), text_of(Mute())
        ('no', '<Mute whose text raises SystemExit>')
    """
    try:
        return str.__str__(str(error))
    except BaseException as another:
        return f"<{class_name(error)} whose text raises {class_name(another)}>"


def attribute(error: BaseException, name: str, default: Any = None) -> Any:
    """What it holds under a name, itself or by its class, without asking its `__getattr__`.

    Example:
        >>> error = OSError(2, "no")
        >>> attribute(error, "errno"), attribute(error, "transient", False)
        (2, False)
    """
    try:
        return BaseException.__getattribute__(error, name)
    except BaseException:
        return default


def notes_of(error: BaseException) -> list[str]:
    """Its notes, as far as they are texts, or what is in their place.

    Example:
        >>> error = ValueError("no")
        >>> error.add_note("in the evening")
        >>> notes_of(error)
        ['in the evening']
    """
    found = attribute(error, "__notes__", ())
    if isinstance(found, str):
        return [str.__str__(found)]
    return [str.__str__(it) for it in found if isinstance(it, str)] if type(found) in (list, tuple) else []


def add_note(error: BaseException, note: str) -> bool:
    """Add a note, in the place of what cannot be a list of notes; whether that could be done.

    Example:
        >>> error = ValueError("no")
        >>> error.__notes__ = "odd"
        >>> add_note(error, "in the evening"), error.__notes__
        (True, ['odd', 'in the evening'])
    """
    try:
        error.__notes__ = [*notes_of(error), note]
    except BaseException:
        return False
    return True


def forget_frames(error: BaseException) -> None:
    """Let go of where it was raised, and of the exceptions that led to it.

    Example:
        >>> error = ValueError("no")
        >>> error.__cause__ = KeyError("a")
        >>> forget_frames(error)
        >>> error.__cause__ is None
        True
    """
    for name in _FRAMES:
        BaseException.__dict__[name].__set__(error, None)
