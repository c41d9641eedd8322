"""Writes TTrees of all types with ROOT 6.40 or later (`pip install root`, and g++), and what ROOT reads in them.

    python root_trees.py FOLDER

writes `trees.root` there, and `trees.json`: of each tree the values of each top-level branch, entry by entry; objects as
records.
"""

import json
import os
import sys
from pathlib import Path

import ROOT
from root_macros import compile_beside

SCRIPT = Path(__file__).resolve()

TREES = [
    *("numbers", "numbers_zlib", "numbers_lzma", "numbers_old", "numbers_lz4", "numbers_none", "flushed", "rounded"),
    *("texts", "stl", "objects", "lists", "clones", "leaf_lists", "single"),
]


def main() -> None:
    os.chdir(sys.argv[1])
    compile_beside(SCRIPT)
    answers = {}
    file = ROOT.TFile.Open("trees.root", "RECREATE")
    for name in TREES:
        ROOT.write(name, file, "one.json")
        answers[name] = json.loads(Path("one.json").read_text(encoding="utf-8"))
    file.Close()
    Path("trees.json").write_text(json.dumps({"trees.root": answers}), encoding="utf-8")


if __name__ == "__main__":
    main()
