"""The files that the examples read when none of your own are named."""

from __future__ import annotations


def sample(name: str) -> str:
    """The path of a small file of scikit-hep-testdata, which is to be installed for it."""
    try:
        from skhep_testdata import data_path
    except ImportError:
        raise SystemExit(
            "this example reads small files of a package: pip install scikit-hep-testdata==0.3.12\n"
            "(or name files of your own: --help says how)"
        ) from None
    path: str = data_path(name)
    return path
