"""What slots say, on its way to the master: taken apart, told once, counted, bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from eventmill.protocol import codec
from eventmill.worker.agent import said as module
from eventmill.worker.agent.said import Allowance, Said, Where
from eventmill.worker.slot_output import Mark, OutputStream, Record, Token
from hypothesis import example, given
from hypothesis import strategies as st
from property_tests import examples

MARK, RECORD = Mark("q1", 7, 10, 20), Record("warning", "careful\nü", "UserWarning", "a.py:3")
AT = Where("q1", "f.root", 0, 10)

piece = st.sampled_from([b"abc", b"\n", b"x\ny\n", b"\0", b"\x1e", MARK.encoded(), RECORD.encoded(), b"\xff\xfe\n"])


def fed(parts: list[bytes]) -> list[tuple[Token, Mark | None]]:
    """Tokens of all parts; neighbouring text of the same place joined."""
    stream, joined = OutputStream(), list[tuple[Token, Mark | None]]()
    for number, part in enumerate(parts):
        for token, mark in stream.feed(part, last=number == len(parts) - 1):
            if joined and isinstance(token, bytes) and isinstance(joined[-1][0], bytes) and joined[-1][1] == mark:
                joined[-1] = (joined[-1][0] + token, mark)
            else:
                joined.append((token, mark))
    return joined


@examples(200)
@given(st.lists(piece, max_size=12), st.lists(st.integers(0, 200), max_size=6))
@example([b"abc", MARK.encoded(), b"x\n"], [5])
def test_text_marks_and_records_are_told_apart_wherever_reads_cut_them(pieces: list[bytes], cuts: list[int]) -> None:
    """No byte of text is lost, none of a mark is shown, and a line that a mark ends belongs to it."""
    whole = b"".join(pieces)
    ends = sorted({min(cut, len(whole)) for cut in cuts} | {len(whole)})
    tokens = fed([whole[start:end] for start, end in zip([0, *ends], ends, strict=False)])
    text = b"".join(token for token, _ in tokens if isinstance(token, bytes))
    assert text == whole.replace(MARK.encoded(), b"").replace(RECORD.encoded(), b"")
    assert [token for token, _ in tokens if isinstance(token, Record)] == [RECORD] * whole.count(RECORD.encoded())
    if len(ends) == 1:  # what was read before its mark came was on its way already
        marked = whole.rpartition(MARK.encoded())[0].replace(MARK.encoded(), b"").replace(RECORD.encoded(), b"")
        assert b"".join(token for token, mark in tokens if isinstance(token, bytes) and mark) == marked


def test_what_is_written_like_a_mark_is_text_and_a_line_without_end_is_cut() -> None:
    """User code may write anything."""
    for forged in (b"\0\x1em{}\n", b'\0\x1er["evil",1]\n', b"\0\x1em" + b"[" * 5000 + b"\n"):
        assert fed([forged]) == [(forged, None)]
    stream = OutputStream()
    out = b"".join(token for _ in range(100) for token, _ in stream.feed(b"\0\x1em" + b"x" * 999) if token)
    assert len(out) > 99_000 - 50_000


spoken = st.tuples(st.integers(0, 2), st.sampled_from(["a", "bb", "c" * 300, "d"]), st.integers(1, 40), st.floats(0, 2))


@examples(100)
@given(st.lists(spoken, max_size=30))
def test_what_is_told_and_what_is_not_add_up_and_stay_within_bounds(words: list[tuple[int, str, int, float]]) -> None:
    """Counts are exact however much is said at once; every message can travel."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("SLOT_RATE", 100), ("SLOT_MOST", 2000), ("LINES_AT_ONCE", 5), ("RATE", 1.0)):
            patch.setattr(module, name, value)
        said, now, expected, told = Said(), 0.0, Counter[str](), Counter[str]()
        for slot, text, count, pause in words:
            now += pause
            query = f"q{slot}"
            said.add(slot, "stdout", Where(query, "f", 0, 9), f"{text}\n".encode() * count, now)
            expected[query] += count
            if pause > 1.0:
                tell(said, now, told)
        tell(said, now + 1.0, told)
        assert told == expected and said.due == float("inf") and said.take(now + 9.0) is None


def tell(said: Said, now: float, told: Counter[str]) -> None:
    message = said.take(now)
    if message is not None:
        codec.encode(message)
        assert len(message.lines) <= 3 * (
            module.LINES_AT_ONCE + 5
        )  # of three queries, and the last words of three slots
        for line in message.lines:
            told[line.query] += line.count
        for unkept in message.unkept:
            told[unkept.query] += unkept.lines


def test_equal_lines_are_told_once_with_a_count_and_different_ones_in_order() -> None:
    said = Said()
    for number in range(1000):
        said.add(0, "stdout", AT, b"the same\n", 0.0)
        said.add(number % 2, "stderr", AT, RECORD, 0.0)
        if number < 3:
            said.add(0, "stdout", AT, f"number {number}\n".encode(), 0.0)
    message = said.take(2.0)
    assert message is not None and not message.unkept
    assert [(line.text, line.count) for line in message.lines] == [
        ("the same", 1000), ("careful\nü", 1000), ("number 0", 1), ("number 1", 1), ("number 2", 1),
    ]  # fmt: skip
    warning = message.lines[1]
    assert (warning.source, warning.level, warning.place, warning.slot, warning.ago) == (
        "warning", "UserWarning", "a.py:3", 0, 2.0,
    )  # fmt: skip


def test_of_a_flood_the_last_words_are_kept() -> None:
    """What is said before a slot goes down says most of why."""
    said = Said()
    for _ in range(100):
        said.add(0, "stdout", AT, (b"x" * 99 + b"\n") * 10_000, 0.0)
    said.add(0, "stdout", AT, b"the last words\n", 0.0)
    message = said.take(0.5)
    assert message is not None and message.lines[-1].text == "the last words"
    assert sum(line.count for line in message.lines) + message.unkept[0].lines == 1_000_001
    assert sum(len(text) for _, text in said.echo) < 300_000


def test_a_query_that_says_much_takes_nothing_from_the_next_one() -> None:
    """Its log records, which have no last words, were not kept for some seconds."""
    said = Said()
    said.add(0, "stdout", Where("loud"), b"".join(b"line %d\n" % number for number in range(5000)), 0.0)
    assert said.take(0.5) is not None
    said.add(0, "stderr", AT, RECORD, 0.6)
    message = said.take(1.0)
    assert message is not None and [line.text for line in message.lines] == ["careful\nü"] and not message.unkept


def test_a_long_line_is_cut_and_what_cannot_be_decoded_is_replaced() -> None:
    said = Said()
    said.add(0, "stdout", AT, b"x" * 50_000 + b"\n\xff\xfe\r\n\n", 0.0)
    said.add(0, "stdout", AT, Record("logging", "\ud800", "INFO", "my"), 0.0)
    said.add(0, "stdout", AT, Record("logging", "what slots compile", "INFO", "eventmill.worker", True), 0.0)
    message = said.take(0.5)
    assert message is not None and [len(line.text) for line in message.lines] == [8000, 2, 6]
    assert message.lines[1].text == "\ufffd\ufffd" and message.unkept[0].size == 42_000
    codec.encode(message)


def test_an_allowance_never_gives_more_than_its_rate() -> None:
    allowance = Allowance(rate=10.0, most=100.0)
    taken = sum(allowance.take(7.0, now / 10) and 7.0 for now in range(1000))
    assert 1000.0 <= taken <= 100.0 + 10.0 * 100.0
