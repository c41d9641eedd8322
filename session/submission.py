"""A submission, kept by its session while the query runs: a master that has lost it gets it again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ..protocol import messages
from ..protocol.codec import Buffer
from ..protocol.errors import QueryFailed
from ..system.content_folder import digest_of


@dataclass(frozen=True, slots=True)
class Submission:
    """What is sent to start a query.

    Its token makes it safe to be sent again when nobody knows whether it arrived: a master starts one query for it.
    """

    submit: messages.Submit
    frames: Sequence[Buffer]
    attachments: Mapping[str, memoryview]

    @classmethod
    def new(
        cls, submit: messages.Submit, frames: Sequence[Buffer], attachments: Mapping[str, memoryview] | None = None
    ) -> Submission:
        """A submission with a token of its own, of an analysis with these attachments by their digests."""
        attachments = attachments or {}
        named = msgspec.structs.replace(submit, token=secrets.token_hex(16), attachments=list(attachments))
        return cls(named, frames, attachments)

    def carrying(self, digests: Sequence[str]) -> Carrying:
        """What is sent, with those of the attachments that the master does not have.

        Raises:
            QueryFailed: one of these is not any more what it was when the analysis was packed.
        """
        copies = [bytes(self.attachments[digest]) for digest in digests]  # the array may change while it is sent
        if any(digest_of(copy) != digest for copy, digest in zip(copies, digests, strict=True)):
            raise QueryFailed(
                f"an array of the analysis {self.submit.name} was changed after it was submitted, and the master does not "
                "have what it was: submit it again"
            )
        return Carrying(msgspec.structs.replace(self.submit, carried=list(digests)), [*self.frames, *copies])


@dataclass(frozen=True, slots=True)
class Carrying:
    """A submission on its way: what is sent, and the frames behind it."""

    submit: messages.Submit
    frames: Sequence[Buffer]

    def message(self, request: int) -> messages.Submit:
        """What is sent as request of this number."""
        return msgspec.structs.replace(self.submit, request=request)
