"""Fixtures that several test files share."""

from xrootd_server import grid, xrootd_server

__all__ = ["grid", "xrootd_server"]
