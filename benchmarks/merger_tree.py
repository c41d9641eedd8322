"""Whether hosts that merge for each other would bring a query to its end sooner (`python -m benchmarks.merger_tree`).

In virtual time: each host has one last partial result of the same size, and its own link, which carries as much in both
directions at once; so has the master. A host sends what it has added up when all has come that is to come to it, to the host
above it, or, as all hosts do today, to the master. Results may be divided by keys into parts, which go up one by one.
"""

from __future__ import annotations

import heapq
from itertools import product

GBIT = 1.25e8
MERGED = 5e9
"""Bytes a second that somebody adds up."""


def seconds(hosts: int, size: float, to_master: float, link: float, fan_in: int, parts: int = 1) -> float:
    """Until the master has all.

    Args:
        hosts: how many there are.
        size: bytes of each partial result, and of their sum.
        to_master, link: bytes a second of the master's link, and of each host's.
        fan_in: who merges does so for so many; 0 for no tree.
        parts: of each result.
    """
    above = [-1 if not fan_in or host < fan_in else host // fan_in - 1 for host in range(hosts)]
    awaited = [[above.count(host)] * parts for host in range(hosts)]
    complete = [[0.0] * parts for _ in range(hosts)]
    up, down = [0.0] * hosts, [0.0] * (hosts + 1)
    ready = [(0.0, part, host) for host in range(hosts) for part in range(parts) if not awaited[host][part]]
    heapq.heapify(ready)
    end = 0.0
    while ready:
        now, part, host = heapq.heappop(ready)
        to = above[host]
        width = to_master if to < 0 else link
        begins = max(now, up[host], down[to])
        up[host] = begins + size / parts / min(width, link)
        down[to] = begins + size / parts / width  # others go on beside one that does not fill the link
        came = up[host] + size / parts / MERGED
        end = max(end, came)
        if to >= 0:
            awaited[to][part] -= 1
            complete[to][part] = max(complete[to][part], came)
            if not awaited[to][part]:
                heapq.heappush(ready, (complete[to][part], part, to))
    return end


def main() -> int:
    print("Seconds until a master at 10 Gb/s has all; of trees, whole results, and in 16 parts\n")
    print("| hosts | MB each | no tree | hosts' links | fan-in 4 | fan-in 8 | fan-in 32 |\n| --: " + "| --: " * 6 + "|")
    for hosts, megabytes, gigabits in product((30, 100, 1000), (5, 50, 200), (1, 10)):
        given = hosts, 1e6 * megabytes, 10 * GBIT, gigabits * GBIT
        trees = [f"{seconds(*given, fan_in):.1f}, {seconds(*given, fan_in, parts=16):.1f}" for fan_in in (4, 8, 32)]
        cells = [str(hosts), str(megabytes), f"{seconds(*given, 0):.1f}", f"{gigabits} Gb/s", *trees]
        print(f"| {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
