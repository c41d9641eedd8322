"""How far a fit of a lifetime is off: many toy experiments, without any input data.

Shows: cycles, each with random numbers of its own; a kernel that takes them; the same production by a columnar function
that draws for many cycles at once; one cycle made again alone, with the numbers that it had.

An experiment observes some decays, and fits their lifetime as the mean of their times. The pull, (fit - truth) / error, of
many experiments is a Gaussian of mean 0 and width 1 where there are many decays in each; with few it is not.

    python toy_monte_carlo.py                                      100,000 experiments of 20 decays
    python toy_monte_carlo.py --experiments 5000000 --seed 11      more of them, with other numbers
    python toy_monte_carlo.py --master default                     on a standing master instead of this machine's cores
"""

from __future__ import annotations

import argparse
import math

import eventmill as em
import numpy as np
from figure import show
from hist import Hist

LIFETIME = 1.5  # of what decays, in ps
DECAYS = 20  # in each experiment

PULL = Hist.new.Reg(40, -5, 5, name="pull", label="(fit - truth) / error").Double()


def pull_of(fit):
    """The error of the mean of n exponentially distributed times is that mean over the root of n."""
    return (fit - LIFETIME) / (fit / math.sqrt(DECAYS))


@em.kernel(pull=PULL, sums=np.zeros(2))
def one_by_one(pull, sums, random):
    """One cycle is one experiment."""
    time = 0.0
    for _ in range(DECAYS):
        time += random.exponential(LIFETIME)
    value = pull_of(time / DECAYS)
    pull.fill(value)
    sums[0] += value
    sums[1] += value * value


def at_once(cycles):
    """Many experiments: a row of decays for each."""
    values = pull_of(LIFETIME * cycles.exponential(DECAYS).mean(axis=1))
    return {"pull": PULL.copy().fill(values), "sums": np.array([values.sum(), (values * values).sum()])}


def again(seed, cycle):
    """One experiment alone: the generator of a cycle is made from the seed and its number, and from nothing else."""
    random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, cycle]))
    return pull_of(sum(random.exponential(LIFETIME) for _ in range(DECAYS)) / DECAYS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=100_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other numbers (default: %(default)s)")
    parser.add_argument("--master", help="a standing master: its name, address or connection file")
    parser.add_argument("--png", metavar="FILE", help="draw the histogram into this file (takes matplotlib)")
    options = parser.parse_args()

    toys = em.cycles(options.experiments, options.seed)
    with em.connect(options.master) as session:
        queries = [session.process(toys, analysis) for analysis in (one_by_one, at_once)]
        results = {query.name: query.result() for query in queries}

    for name, result in results.items():
        print(result)
        mean, square = result["sums"] / options.experiments
        print(f"{name}: mean {mean:+.4f}, width {math.sqrt(square - mean * mean):.4f}")
    print(f"experiment 0 again: {again(options.seed, 0):+.4f}")
    show(results["one_by_one"]["pull"], options.png)


if __name__ == "__main__":
    main()
