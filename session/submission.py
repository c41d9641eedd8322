"""A submission, kept by its session while the query runs: a master that has lost it gets it again."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ..protocol import messages
from ..protocol.codec import Buffer


@dataclass(frozen=True, slots=True)
class Submission:
    """What is sent to start a query.

    Its token makes it safe to be sent again when nobody knows whether it arrived: a master starts one query for it.
    """

    submit: messages.Submit
    frames: Sequence[Buffer]

    @classmethod
    def new(cls, submit: messages.Submit, frames: Sequence[Buffer]) -> Submission:
        """A submission with a token of its own."""
        return cls(msgspec.structs.replace(submit, token=secrets.token_hex(16)), frames)

    def message(self, request: int) -> messages.Submit:
        """What is sent as request of this number."""
        return msgspec.structs.replace(self.submit, request=request)
