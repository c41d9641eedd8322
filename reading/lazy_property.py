"""Attributes that are found out when they are first asked for.

`functools.cached_property` does so holding one lock for all objects of a class, until Python 3.12: a thread that opens a
file, and waits for a server, would stop all others from looking at theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy_property(Generic[T]):  # noqa: N801  # it is read as the decorator that it is
    """As `functools.cached_property`, for objects that one thread at a time looks at.

    Example:
        >>> class Book:
        ...     @lazy_property
        ...     def words(self):
        ...         print("counting")
        ...         return 3
        >>> book = Book()
        >>> book.words + book.words
        counting
        6
    """

    def __init__(self, find: Callable[[Any], T]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> lazy_property[T] | T:
        if instance is None:
            return self
        found = instance.__dict__[self._name] = self._find(instance)
        return found
