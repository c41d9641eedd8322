"""What the scripts have in common that write files with ROOT by code beside them in C++."""

from pathlib import Path

import ROOT


def compile_beside(script: Path) -> None:
    """Compile the C++ code beside a script, `x.cxx` of `x.py`, in the current folder, and load it.

    Without an optimizer, which takes too long for so many templates, as does ROOT's interpreter.
    """
    code = script.with_suffix(".cxx")
    ROOT.gSystem.SetFlagsDebug("-O0")
    ROOT.gSystem.SetBuildDir(".", True)
    assert ROOT.gSystem.CompileMacro(str(code), "gs", code.stem)
