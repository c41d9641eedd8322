"""Writes elsewhere.root with ROOT: a tree, one of whose branches has its values in another file (and is not committed)."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import ROOT


def main() -> None:
    """Write it beside this script."""
    os.chdir(Path(__file__).parent)  # the path is written into the file
    file = ROOT.TFile("elsewhere.root", "recreate")
    tree = ROOT.TTree("Events", "")
    near, far, few = array("i", [0]), array("d", [0.0]), array("d", [0.0])
    tree.Branch("near", near, "near/I")
    tree.Branch("far", far, "far/D", 8000).SetFile("other.root")  # a basket holds a thousand
    tree.Branch("few", few, "few/D").SetFile("other.root")  # none of its baskets is full
    for entry in range(2000):
        near[0], far[0], few[0] = entry, entry / 2, entry / 4
        tree.Fill()
    tree.Write()
    file.Close()


if __name__ == "__main__":
    main()
