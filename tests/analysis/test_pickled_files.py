"""Code that travels keeps the name of its file, whatever cloudpickle makes of it: errors show the user's own line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import cloudpickle
import pytest

SCRIPT = """
    import sys, types
    import cloudpickle
    {patch}
    from eventmill.analysis.pickles import pickling

    def plain(events):
        def inner(event):
            return [lambda: other for other in event]
        return inner, (lambda event: event)

    class Processor:
        def process(self, events):
            return events

        @classmethod
        def made(cls):
            return cls()

        @staticmethod
        def cut(event):
            return (lambda: event)

        @property
        def name(self):
            return "x"

    with pickling() as pickled:
        sys.stdout.buffer.write(pickled((plain, lambda event: event, Processor, Processor().process)))
"""

READER = """
    import json, pickle, sys, types

    def codes(code):
        yield code
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from codes(constant)

    plain, short, processor, bound = pickle.loads(sys.stdin.buffer.read())
    made = vars(processor)
    functions = [plain, short, made["process"], made["made"].__func__, made["cut"].__func__, made["name"].fget]
    functions += [bound.__func__, *plain([])]
    print(json.dumps(sorted((code.co_name, code.co_filename) for f in functions for code in codes(f.__code__))))
"""

FORGETFUL = """
    reduce_code = cloudpickle.cloudpickle._code_reduce

    def forgetful(code):
        make, arguments = reduce_code(code)
        nameless = tuple("<dynamic-code>" if argument == code.co_filename else argument for argument in arguments)
        return make, nameless

    cloudpickle.Pickler._dispatch_table[types.CodeType] = forgetful
    cloudpickle.Pickler.dispatch_table[types.CodeType] = forgetful
"""


@pytest.mark.parametrize("patch", ["", FORGETFUL], ids=[f"cloudpickle {cloudpickle.__version__}", "forgetful"])
def test_code_keeps_its_file_name_in_a_fresh_interpreter(tmp_path: Path, patch: str) -> None:
    """Functions, nested ones, lambdas, and all kinds of methods; cloudpickle 3.1.3 calls every file <dynamic-code>."""
    script = tmp_path / "analysis.py"
    script.write_text(dedent(SCRIPT).format(patch=dedent(patch)))
    sent = subprocess.run([sys.executable, str(script)], capture_output=True, check=True, timeout=60)
    read = subprocess.run(
        [sys.executable, "-c", dedent(READER)], input=sent.stdout, capture_output=True, check=True, timeout=60
    )
    found = json.loads(read.stdout)
    assert {name for name, _ in found} >= {"plain", "inner", "<lambda>", "process", "made", "cut", "name"}
    assert {file for _, file in found} == {str(script)}, found
