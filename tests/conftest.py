"""Fixtures that several test files share."""

from xrootd_server import xrootd_server

__all__ = ["xrootd_server"]
