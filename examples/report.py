"""Why did it take so long? The report of a query that loads its corrections in every call, and of one that does it once.

Shows: what a report says held a query back, and what would help; the same as a page with pictures; findings for programs.

    python report.py                                               a small file of `pip install scikit-hep-testdata`
    python report.py --html report                                 with report-slow.html and report-quick.html
    python report.py --master default                              on a standing master instead of this machine's cores
"""

from __future__ import annotations

import argparse
import time

import awkward as ak
import eventmill as em
import numpy as np
from hist import Hist
from samples import sample


def corrections():
    """Takes half a second, as do many files of corrections and models from a shared disk."""
    time.sleep(0.5)
    return np.linspace(0.95, 1.05, 100)


def momenta(events, scale):
    pt = np.sqrt(events.Muon_Px**2 + events.Muon_Py**2) * scale.mean()
    return {"pt": Hist.new.Reg(50, 0, 100, name="pt", label="pt [GeV]").Double().fill(ak.flatten(pt))}


def slow(events):
    return momenta(events, corrections())


def made_quick():
    scale = corrections()  # once, here: it travels with the analysis

    def quick(events):
        return momenta(events, scale)

    return quick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hzz", default=None, help="a file with branches Muon_Px and Muon_Py")
    parser.add_argument("--html", metavar="NAME", help="write NAME-slow.html and NAME-quick.html")
    parser.add_argument("--master", help="a standing master: its name, address or connection file")
    options = parser.parse_args()

    data = em.Dataset(options.hzz or sample("uproot-HZZ.root"), tree="events")
    with em.connect(options.master) as session:
        for analysis in (slow, made_quick()):
            query = session.process(data, analysis)
            result = query.result()
            report = query.report()
            print(report)
            print(f"{query.name}: {int(result['pt'].sum(flow=True)):,} muons", end="\n\n")
            if options.html:
                report.html(f"{options.html}-{query.name}.html")
            for finding in report.findings:  # the same for programs
                if finding.kind == "dear_calls":
                    print(f"{finding.count} calls, {finding.each:.1f} s each")


if __name__ == "__main__":
    main()
