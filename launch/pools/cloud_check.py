"""What an endpoint of a cloud can and cannot: a machine that does nothing, and what becomes of it, line by line.

"No two EC2 API implementations are the same": whether this one does what its interface promises is tried, not believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .cloud_choice import chosen
from .cloud_machines import names_of, tags_of
from .pool import Assignment, Finding, PoolError

if TYPE_CHECKING:
    from .cloud import Cloud

_NOTHING = b"#!/bin/sh\necho eventmill: a machine that is only tried\nsleep 600; poweroff\n"
"""The user-data of the machine: if nobody ends it, it ends itself."""
END_SECONDS, LOOK_SECONDS = 120.0, 2.0
"""How long a machine may take to be gone, and between two looks."""


def findings(cloud: Cloud, assignment: Assignment) -> Iterator[Finding]:
    """Try an endpoint. No machine of it is left when this ends, as far as the cloud does what it says."""
    tried = _Trial(cloud, assignment)
    yield from tried.lists()
    if tried.kind is None:
        yield Finding("start a machine", None, "there is no image or flavour to try it with")
        return
    try:
        yield from tried.starts()
    finally:
        ended = list(tried.ends())  # also if nobody wants to know any more
    yield from ended


class _Trial:
    """One of them, step by step.

    Attributes:
        kind: image and size, once they are found.
    """

    def __init__(self, cloud: Cloud, assignment: Assignment) -> None:
        self._cloud, self._assignment = cloud, assignment
        self._name = names_of(assignment, 1)[0]
        self.kind: tuple[Any, Any] | None = None

    def lists(self) -> Iterator[Finding]:
        """What can be asked without a machine."""
        cloud, quirks = self._cloud, self._cloud.quirks

        def choose(driver: Any) -> str:
            image, size, flavour = chosen(cloud, driver)
            self.kind = (image, size)
            has = (
                f"{flavour.cores} cores, {flavour.memory / 2**30:.3g} GB" if flavour.cores else "not in libcloud's list"
            )
            price = f", {flavour.price:g} an hour" if flavour.price else ""
            return f"{image.name or image.id} on {flavour.name} ({has}{price})"

        yield self._tried(
            "credentials are known, machines are listed", lambda it: f"{len(cloud.machines(it))} of ours", True
        )
        yield self._tried("image and flavour are found, and go together", choose, True)
        try:
            size = len(cloud.user_data("x" * 200, self._name, self._assignment))
            yield Finding("user-data of a worker fit", True, f"{size} of {quirks.limit} bytes")
        except PoolError as error:
            yield Finding("user-data of a worker fit", False, str(error), needed=True)
        if quirks.spot is None:
            yield Finding("machines that may be taken back (spot)", False, "this interface has none", needed=cloud.spot)
        elif not cloud.spot:
            yield Finding("machines that may be taken back (spot)", None, "set spot = true to try it")
        ends = (
            "a machine that switches itself off is deleted"
            if quirks.ends_itself
            else ("a machine that switches itself off stays, and costs, until a launcher sees it")
        )
        yield Finding("the end of a machine is the end of its costs", bool(quirks.ends_itself), ends)

    def starts(self) -> Iterator[Finding]:
        """What takes a machine: whether it is made, known by its tags, and made once only."""
        cloud, quirks = self._cloud, self._cloud.quirks
        started = self._tried(
            "a machine is started, with user-data" + (", as spot" if cloud.spot else ""), self._start, True
        )
        yield started
        if not started.works:
            return
        if quirks.tags is None:
            yield Finding("tags", False, "this interface has none: after a lost record machines are not found again")
        else:
            wanted = tags_of(self._assignment)

            def tagged(driver: Any) -> str:
                machine, _ = cloud.machines(driver)[self._name]
                missing = [key for key, value in wanted.items() if machine.tags.get(key) != cloud.as_tag(value)]
                if missing:
                    raise PoolError(f"{', '.join(missing)} are not there", "refused")
                return "found again by them, also when the record is lost"

            yield self._tried("it has its tags from the first moment on", tagged)
        if quirks.client_token:
            yield self._tried("the same call made twice makes one machine", self._start_again)
        if quirks.console is None:
            yield Finding(
                "its console is shown", False, "this interface has none: why a machine does not come up is not told"
            )
        else:
            yield self._tried("its console is shown", self._console)

    def ends(self) -> Iterator[Finding]:
        """Delete all that was made, and see that it is gone."""

        def end(driver: Any) -> str:
            began = time.monotonic()
            while there := self._nodes(driver):
                for node in there:
                    driver.destroy_node(node)
                if time.monotonic() - began > END_SECONDS:
                    raise PoolError(f"{len(there)} are there after {END_SECONDS:.0f} s: end them by hand", "refused")
                time.sleep(LOOK_SECONDS if self._nodes(driver) else 0.0)
            return f"gone after {time.monotonic() - began:.1f} s"

        yield self._tried("it is deleted", end, True)

    def _start(self, driver: Any) -> str:
        cloud = self._cloud
        assert self.kind is not None
        began = time.monotonic()
        image, size = self.kind
        driver.create_node(
            name=self._name, image=image, size=size, **cloud.market, **cloud.quirks.network(cloud.network, cloud.groups),
            **cloud.arguments(self._name, _NOTHING, self._assignment),
        )  # fmt: skip
        return f"answered after {time.monotonic() - began:.1f} s"

    def _start_again(self, driver: Any) -> str:
        self._start(driver)
        if len(self._nodes(driver)) > 1:
            raise PoolError(
                "it made another one: an answer that is lost may cost a machine, until it is found by its tags",
                "refused",
            )
        return "an answer that is lost costs nothing"

    def _console(self, driver: Any) -> str:
        nodes = self._nodes(driver)
        said = self._cloud.quirks.console(driver, nodes[0]) if self._cloud.quirks.console and nodes else ""
        return f"{len(said.splitlines())} lines so far; some providers show it minutes later"

    def _nodes(self, driver: Any) -> list[Any]:
        """All machines of our name that are not over: there may be two."""
        quirks = self._cloud.quirks
        nodes = [node for node in driver.list_nodes(**quirks.filters) if node.name == self._name]
        return [node for node in nodes if not quirks.machine(node).is_over]

    def _tried(self, what: str, step: Callable[[Any], str], needed: bool = False) -> Finding:
        try:
            with self._cloud.connected("does not") as driver:
                return Finding(what, True, step(driver), needed)
        except PoolError as error:
            return Finding(what, False, str(error), needed)
