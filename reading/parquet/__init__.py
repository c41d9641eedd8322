"""Parquet files: their footers, their row groups, and columns of them."""
