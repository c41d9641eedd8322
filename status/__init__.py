"""The status page of a master: what goes on in a cluster, in a browser."""
