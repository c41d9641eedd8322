"""Writes RNTuples of all types and encodings with ROOT 6.40 or later (`pip install root`, and g++), and what ROOT reads in
them.

    python root_ntuples.py FOLDER

writes `ntuples.root` and `merged.root` there, and `ntuples.json`: of each RNTuple the values of each field, entry by entry.
`tests/data/ntuple_encodings.root` has some of them.
"""

import json
import os
import sys
from pathlib import Path

import ROOT
from root_macros import compile_beside

SCRIPT = Path(__file__).resolve()

NAMES = ["early", "encoded", "projected", "attributes", "empty", "groups", "parallel", "wide"]


def merged(path: str) -> None:
    """Three files put together by ROOT, which lack some of each other's fields."""
    parts = [Path(f"part{i}.root") for i in range(3)]
    for i, part in enumerate(parts):
        ROOT.part(str(part), i)
    merger = ROOT.TFileMerger(False, False)
    merger.OutputFile(path, "RECREATE", 505)
    merger.SetMergeOptions("rntuple.MergingMode=Union")
    for part in parts:
        merger.AddFile(str(part), False)
    assert merger.Merge()
    for part in parts:
        part.unlink()


def main() -> None:
    os.chdir(sys.argv[1])
    compile_beside(SCRIPT)
    file = ROOT.TFile.Open("ntuples.root", "RECREATE")
    for name in NAMES:
        getattr(ROOT, name)(file)
    ROOT.late(file, "late", 16), ROOT.late(file, "later", 26)
    file.Close()
    merged("merged.root")
    answers: dict[str, dict[str, object]] = {}
    for path, trees in {"ntuples.root": [*NAMES, "late", "later"], "merged.root": ["merged"]}.items():
        for tree in trees:
            ROOT.answers(path, tree, "one.json")
            answers.setdefault(path, {})[tree] = json.loads(Path("one.json").read_text(encoding="utf-8"))
    Path("ntuples.json").write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
