"""Pools: places where workers can be started. A module a system, all with the same verbs (`pool.Pool`)."""
