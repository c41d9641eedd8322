"""Bytes of files, wherever they are: local disks, XRootD, http; and credentials for them."""
