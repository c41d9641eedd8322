"""A dimuon mass with systematic variations and a cutflow, in one pass over the data.

Shows: variations of several columns together (the momentum scale of muons), and of weights, over a kernel; a result by
variation, nominal first; a cutflow for each of them; what the variations add up to.

    python systematics.py                             a small file of `pip install scikit-hep-testdata`
    python systematics.py --files a.root b.root       files of your own with the same branches
    python systematics.py --png mass.png              draw nominal and what the variations make of it (takes matplotlib)
    python systematics.py --master default            on a standing master instead of this machine's cores
"""

from __future__ import annotations

import argparse

import eventmill as em
import numpy as np
from hist import Hist
from samples import sample

MOMENTUM = ("Muon_Px", "Muon_Py", "Muon_Pz", "Muon_E")
SCALE = np.float32(0.01)  # by which momenta of muons are uncertain


@em.kernel(
    mass=Hist.new.Reg(30, 60, 120, name="mass", label="mass of the muon pair [GeV]").Weight(),
    cuts=em.Cutflow("all events", "two muons", "opposite charge", "60 to 120 GeV"),
)
def pairs(mass, cuts, Muon_Px, Muon_Py, Muon_Pz, Muon_E, Muon_Charge, EventWeight):
    cuts.passed("all events", EventWeight)
    if len(Muon_Px) < 2:
        return
    cuts.passed("two muons", EventWeight)
    if Muon_Charge[0] == Muon_Charge[1]:
        return
    cuts.passed("opposite charge", EventWeight)
    px, py, pz = Muon_Px[0] + Muon_Px[1], Muon_Py[0] + Muon_Py[1], Muon_Pz[0] + Muon_Pz[1]
    m = np.sqrt(max((Muon_E[0] + Muon_E[1]) ** 2 - px**2 - py**2 - pz**2, 0.0))
    if 60 < m < 120:
        cuts.passed("60 to 120 GeV", EventWeight)
    mass.fill(m, weight=EventWeight)


def scaled(by):
    """The momenta of all muons, scaled."""
    return lambda events: tuple(events[name] * by for name in MOMENTUM)


VARIATIONS = {
    "scale_up": {MOMENTUM: scaled(1 + SCALE)},
    "scale_down": {MOMENTUM: scaled(1 - SCALE)},
    "luminosity_up": {"EventWeight": "EventWeight * 1.02"},
    "luminosity_down": {"EventWeight": "EventWeight * 0.98"},
    "muons_up": {"EventWeight": lambda events: events.EventWeight * (1 + 0.005 * events.NMuon)},
    "muons_down": {"EventWeight": lambda events: events.EventWeight * (1 - 0.005 * events.NMuon)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="+", metavar="FILE", help="with Muon_Px, ..., NMuon and EventWeight")
    parser.add_argument("--tree", default="events", help="name of the tree (default: %(default)s)")
    parser.add_argument("--master", help="a standing master: its name, address or connection file")
    parser.add_argument("--png", metavar="FILE", help="draw the histograms into this file (takes matplotlib)")
    options = parser.parse_args()
    data = em.Dataset(options.files or [sample("uproot-HZZ.root")], tree=options.tree)
    with em.connect(options.master) as session:
        result = session.process(data, em.vary(pairs, VARIATIONS)).result()

    print(result)
    print(f"\n{result['nominal']['cuts']}\n")
    nominal = result["nominal"]["mass"].sum().value
    for name, outputs in result.items():
        value = outputs["mass"].sum().value
        print(f"{name:16} {value:10.3f} {100 * (value / nominal - 1):+8.2f} %")
    up, down = (
        np.sqrt(
            sum(
                ((result[f"{name}_{side}"]["mass"].sum().value - nominal) ** 2)
                for name in ("scale", "luminosity", "muons")
            )
        )
        for side in ("up", "down")
    )
    print(f"in the window: {nominal:.3f} + {up:.3f} - {down:.3f} (systematic)")
    if options.png:
        draw(result, options.png)


def draw(result, path: str) -> None:
    """Nominal, and the variations added in quadrature around it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no {path}: install matplotlib to have one")
        return
    axis = result["nominal"]["mass"].axes[0]
    nominal, *others = (outputs["mass"].values() for outputs in result.values())
    band = np.sqrt(sum((other - nominal) ** 2 for other in others) / 2)
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(nominal + band, axis.edges, baseline=nominal - band, fill=True, alpha=0.4, label="systematic")
    axes.stairs(nominal, axis.edges, label="nominal")
    axes.set_xlabel(axis.label)
    axes.set_ylabel("events / 2 GeV")
    axes.legend()
    figure.savefig(path)
    print(f"saved {path}")


if __name__ == "__main__":
    main()
