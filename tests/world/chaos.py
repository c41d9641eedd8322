"""What happens when everything goes wrong: nothing is lost, nothing counts twice, and queries end.

    python -m tests.world.chaos                       200 faults of real processes during 20 queries: about six minutes
    python -m tests.world.chaos --skims               the same, and all queries write files
    python -m tests.world.chaos --master-kills [50]   `kill -9` of the master at so many random moments of a query: five
    python -m tests.world.chaos --simulate [100000]   seeds of the simulated world, tests/world/world.py: fifteen
    python -m tests.world.chaos --seed 4711           one of them, with every message
    python -m tests.world.chaos --fuzz [1000000]      malformed, mutated and replayed messages: two
    python -m tests.world.chaos ... --readme          puts the table into benchmarks/README.md

It ends with an error when anything went wrong.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from benchmarks.options import command_line
from benchmarks.tables import put

from . import fuzz, kills, real_faults, seeds

SEEDS, FRAMES, FAULTS, QUERIES, KILLS = 100_000, 1_000_000, 200, 20, 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the options say; 1 when something went wrong."""
    options = _parse(arguments)
    if options.seed is not None:
        return seeds.one(options.seed)
    logging.getLogger("eventmill").setLevel(logging.CRITICAL)
    if options.simulate is not None:
        name, report = "simulation", seeds.sweep(options.first, options.simulate)
    elif options.fuzz is not None:
        name, report = "fuzz", fuzz.everything(options.fuzz, options.first)
    elif options.master_kills is not None:
        name, report = "kills", kills.run(options.master_kills, options.first)
    else:
        name = "skims" if options.skims else "processes"
        report = real_faults.run(
            options.faults, options.queries, options.first, pause=options.pause, skims=options.skims
        )
    print(report.text())
    if options.readme:
        put(f"chaos {name}", report.markdown())
    return 0 if report.good else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("chaos", __doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--simulate", type=int, nargs="?", const=SEEDS, metavar="SEEDS")
    what.add_argument("--seed", type=int, help="one seed of the simulation")
    what.add_argument("--fuzz", type=int, nargs="?", const=FRAMES, metavar="MESSAGES")
    what.add_argument("--master-kills", type=int, nargs="?", const=KILLS, metavar="KILLS")
    parser.add_argument("--skims", action="store_true", help="all queries during real faults write files")
    parser.add_argument("--faults", type=int, default=FAULTS, help="real faults at least")
    parser.add_argument("--queries", type=int, default=QUERIES, help="queries during them at least")
    parser.add_argument(
        "--pause", type=float, default=real_faults.PAUSE, metavar="SECONDS",
        help="between two real faults, on average; more where processes start slowly",
    )  # fmt: skip
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the seed to begin with")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
