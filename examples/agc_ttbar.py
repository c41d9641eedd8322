"""The ttbar analysis of the Analysis Grand Challenge, as its notebook has it for coffea, and as a kernel.

Shows: a processor of coffea's that runs unchanged, on data that is described as coffea does it, with cross sections as
metadata; the same analysis as a kernel, called once an event and compiled; variations of jets and of weights in one pass.

    python agc_ttbar.py                       the processor and the kernel, over nine small samples that it makes
    python agc_ttbar.py --only kernel         does not need coffea
    python agc_ttbar.py --events 1000000      more events, in `--folder`
    python agc_ttbar.py --master default      on a standing master instead of this machine's cores

The selection, observables and variations are those of https://github.com/iris-hep/analysis-grand-challenge (CMS open data,
without its machine learning). The notebook draws random numbers for the jet energy resolution; here they follow from the
jets' pt, as in https://github.com/root-project/analysis-grand-challenge, so that all ways give the same histograms.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

import awkward as ak
import eventmill as em
import numpy as np
import uproot
from hist import Hist

LUMINOSITY = 3378.0  # 1/pb
CROSS_SECTIONS = {  # pb
    "ttbar": 396.87 + 332.97,
    "single_top_s_chan": 2.0268 + 1.2676,
    "single_top_t_chan": (36.993 + 22.175) / 0.252,
    "single_top_tW": 37.936 + 37.906,
    "wjets": 61457 * 0.252,
}
SAMPLES = {  # shares of the events
    "ttbar__nominal": 0.45,
    "ttbar__scaledown": 0.06,
    "ttbar__scaleup": 0.06,
    "ttbar__ME_var": 0.06,
    "ttbar__PS_var": 0.06,
    "single_top_s_chan__nominal": 0.01,
    "single_top_t_chan__nominal": 0.08,
    "single_top_tW__nominal": 0.02,
    "wjets__nominal": 0.2,
}
REGIONS = ("4j1b", "4j2b")
JET_VARIATIONS = ("nominal", "pt_scale_up", "pt_res_up")
WEIGHT_VARIATIONS = tuple(f"btag_var_{jet}_{way}" for jet in range(4) for way in ("up", "down"))
VARIATIONS = (*JET_VARIATIONS, *WEIGHT_VARIATIONS, "scale_var_up", "scale_var_down")
TAGGED = 0.5

# 5 % of resolution: a number of a normal distribution for each of the 1000 values that three digits of a pt have.
SMEARING = 1.0 + np.array([statistics.NormalDist(0, 0.05).inv_cdf(0.001 * digits + 0.0005) for digits in range(1000)])
SMEARING = SMEARING.astype(np.float32)


# --- as in the notebook -----------------------------------------------------------------------------------------------


def processor():
    from coffea.nanoevents import NanoAODSchema
    from coffea.processor import ProcessorABC

    class Schema(NanoAODSchema):
        warn_missing_crossrefs = False  # the samples have no generated particles to point to

    class TtbarAnalysis(ProcessorABC):
        schema = Schema

        def __init__(self):
            self.hist_dict = {
                region: Hist.new.Reg(25, 50, 550, name="observable", label="observable [GeV]")
                .StrCat([], name="process", growth=True)
                .StrCat([], name="variation", growth=True)
                .Weight()
                for region in REGIONS
            }

        def process(self, events):
            process, variation = events.metadata["process"], events.metadata["variation"]
            xsec_weight = events.metadata["xsec"] * LUMINOSITY / events.metadata["nevts"]
            event_systs = [f"btag_var_{jet}" for jet in range(4)] + (["scale_var"] if process == "wjets" else [])
            syst_variations = [*JET_VARIATIONS, *event_systs] if variation == "nominal" else ["nominal"]
            for syst_var in syst_variations:
                elecs, muons, jets = events.Electron, events.Muon, events.Jet
                if syst_var == "pt_scale_up":
                    jets["pt"] = jets.pt * np.float32(1.03)
                elif syst_var == "pt_res_up":
                    jets["pt"] = jets.pt * jet_pt_resolution(jets.pt)
                elecs = elecs[(elecs.pt > 30) & (np.abs(elecs.eta) < 2.1) & (elecs.cutBased == 4) & (elecs.sip3d < 4)]
                good = (muons.pt > 30) & (np.abs(muons.eta) < 2.1) & (muons.sip3d < 4)
                muons = muons[good & muons.tightId & (muons.pfRelIso04_all < 0.15)]
                jets = jets[(jets.pt > 30) & (np.abs(jets.eta) < 2.4) & jets.isTightLeptonVeto]
                tags = ak.sum(jets.btagCSVV2 > TAGGED, axis=1)
                selected = (ak.num(elecs) + ak.num(muons) == 1) & (ak.num(jets) >= 4)
                for region in REGIONS:
                    region_jets = jets[selected & ((tags == 1) if region == "4j1b" else (tags >= 2))]
                    weights = np.full(len(region_jets), xsec_weight)
                    if region == "4j1b":
                        observable = ak.sum(region_jets.pt, axis=-1)
                    elif len(region_jets) == 0:
                        continue
                    else:
                        observable = trijet_mass(region_jets)
                    if syst_var in event_systs:
                        filled = [(f"{syst_var}_{way}", sign) for way, sign in (("up", 1.0), ("down", -1.0))]
                    else:
                        filled = [(syst_var if variation == "nominal" else variation, 0.0)]
                    for name, sign in filled:
                        if syst_var.startswith("btag_var"):
                            shift = 0.075 * region_jets.pt[:, int(syst_var[-1])] / 50
                        else:
                            shift = 0.025
                        self.hist_dict[region].fill(
                            observable=observable, process=process, variation=name, weight=weights * (1 + sign * shift)
                        )
            return {"nevents": {events.metadata["dataset"]: len(events)}, "hist_dict": self.hist_dict}

        def postprocess(self, accumulator):
            return accumulator

    return TtbarAnalysis()


def jet_pt_resolution(pt):
    counts, flat = ak.num(pt), ak.to_numpy(ak.flatten(pt))
    return ak.unflatten(SMEARING[(flat * np.float32(1000)).astype(np.int32) % 1000], counts)


def trijet_mass(jets):
    """Mass of the three jets, one of them tagged at least, whose sum has the largest pt."""
    trijet = ak.combinations(jets, 3, fields=["j1", "j2", "j3"])
    trijet["p4"] = trijet.j1 + trijet.j2 + trijet.j3
    max_btag = np.maximum(trijet.j1.btagCSVV2, np.maximum(trijet.j2.btagCSVV2, trijet.j3.btagCSVV2))
    trijet = trijet[max_btag > TAGGED]
    return ak.flatten(trijet["p4"][ak.argmax(trijet.p4.pt, axis=1, keepdims=True)].mass)


# --- as a kernel ------------------------------------------------------------------------------------------------------


def kernel():
    """Variations are numbers of an axis, and weights those of one event: their names and cross sections come in the end."""
    observable = Hist.new.Reg(25, 50, 550, name="observable", label="observable [GeV]")
    empty = observable.Int(0, len(VARIATIONS), name="variation").Weight()

    @em.kernel(h1=empty, h2=empty)
    def ttbar(
        h1, h2, Electron_pt, Electron_eta, Electron_cutBased, Electron_sip3d,
        Muon_pt, Muon_eta, Muon_tightId, Muon_sip3d, Muon_pfRelIso04_all,
        Jet_pt, Jet_eta, Jet_phi, Jet_mass, Jet_jetId, Jet_btagCSVV2,
    ):  # fmt: skip
        leptons = 0
        for i in range(len(Electron_pt)):
            good = Electron_pt[i] > 30 and abs(Electron_eta[i]) < 2.1 and Electron_sip3d[i] < 4
            leptons += good and Electron_cutBased[i] == 4
        for i in range(len(Muon_pt)):
            good = Muon_pt[i] > 30 and abs(Muon_eta[i]) < 2.1 and Muon_sip3d[i] < 4
            leptons += good and Muon_tightId[i] and Muon_pfRelIso04_all[i] < 0.15
        if leptons != 1:
            return
        n = len(Jet_pt)
        pt, taken = np.empty(n, np.float32), np.empty(n, np.int64)
        for variation in range(3):
            count = tags = 0
            ht = np.float32(0)
            for i in range(n):
                scaled = np.float32(Jet_pt[i])
                if variation == 1:
                    scaled = np.float32(scaled * np.float32(1.03))
                elif variation == 2:
                    scaled = np.float32(scaled * SMEARING[int(np.float32(scaled * np.float32(1000))) % 1000])
                if scaled > 30 and abs(Jet_eta[i]) < 2.4 and Jet_jetId[i] & 4:
                    pt[count], taken[count] = scaled, i
                    count += 1
                    tags += Jet_btagCSVV2[i] > TAGGED
                    ht = np.float32(ht + scaled)
            if count < 4 or tags == 0:
                continue
            observable = float(ht)
            if tags > 1:
                best = -1.0
                for i in range(count):
                    for j in range(i + 1, count):
                        for k in range(j + 1, count):
                            tag = max(Jet_btagCSVV2[taken[i]], Jet_btagCSVV2[taken[j]], Jet_btagCSVV2[taken[k]])
                            if tag > TAGGED:
                                px = py = pz = energy = 0.0
                                for jet in (i, j, k):
                                    of = taken[jet]
                                    x, y = pt[jet] * math.cos(Jet_phi[of]), pt[jet] * math.sin(Jet_phi[of])
                                    z = pt[jet] * math.sinh(Jet_eta[of])
                                    px, py, pz = px + x, py + y, pz + z
                                    energy += math.sqrt(x * x + y * y + z * z + Jet_mass[of] * Jet_mass[of])
                                if px * px + py * py > best:
                                    best = px * px + py * py
                                    observable = math.sqrt(max(energy * energy - px * px - py * py - pz * pz, 0.0))
            for way in range(11 if variation == 0 else 1):  # weights vary with nominal jets only
                index = variation if way == 0 else way + 2
                factor = 1.0
                if 1 <= way <= 8:
                    factor = 1 + (1 if way % 2 else -1) * 0.075 * pt[(way - 1) // 2] / 50
                elif way > 8:
                    factor = 1.025 if way == 9 else 0.975
                if tags == 1:
                    h1.fill(observable, index, weight=factor)
                else:
                    h2.fill(observable, index, weight=factor)

    return ttbar


def run_kernel(session, fileset):
    """The kernel over all samples at once; scaled, and with the names of the processor's histograms."""
    ttbar = kernel()
    queries = {name: session.process(em.Dataset({name: its}, tree="Events"), ttbar) for name, its in fileset.items()}
    filled = {}
    for name, query in queries.items():
        about = fileset[name]["metadata"]
        scale = about["xsec"] * LUMINOSITY / about["nevts"]
        result = query.result()
        for region, h in zip(REGIONS, (result["h1"], result["h2"]), strict=True):
            for variation in variations(name):
                index = VARIATIONS.index(variation) if variation in VARIATIONS else 0
                filled[region, about["process"], variation] = scale * h.values()[:, index]
    return filled


def by_name(hist_dict):
    """Contents of the processor's histograms, as `run_kernel` gives them."""
    filled = {}
    for region, h in hist_dict.items():
        for name in SAMPLES:
            process = name.split("__")[0]
            for variation in variations(name):
                known = process in h.axes["process"] and variation in h.axes["variation"]
                filled[region, process, variation] = h[:, process, variation].values() if known else np.zeros(25)
    return filled


def variations(name):
    """What is varied of a sample; a sample that is not nominal is a variation itself."""
    process, variation = name.split("__")
    if variation != "nominal":
        return (variation,)
    return VARIATIONS if process == "wjets" else VARIATIONS[:-2]


# --- input ------------------------------------------------------------------------------------------------------------


def make_fileset(folder, events):
    """The nine samples as the notebook describes them, written if they are not there, with about so many events."""
    fileset = {}
    for number, (name, share) in enumerate(SAMPLES.items()):
        process, variation = name.split("__")
        count = max(int(events * share), 100)
        paths = [folder / f"{name}_{part}_{count}.root" for part in range(1 + (count > 200_000))]
        for part, path in enumerate(paths):
            if not path.is_file():
                write(path, count // len(paths), np.random.default_rng((number, part)), process)
        nevts = count // len(paths) * len(paths)
        metadata = {"process": process, "variation": variation, "nevts": nevts, "xsec": CROSS_SECTIONS[process]}
        fileset[name] = {"files": {str(path): "Events" for path in paths}, "metadata": metadata}
    return fileset


def write(path, events, random, process):
    """A file of NanoAOD's layout, with the branches that the analysis reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path.with_suffix(".part"), compression=uproot.ZSTD(1)) as file:
        for start in range(0, events, 50_000):
            columns = make_columns(min(50_000, events - start), random, 2.5 if process == "wjets" else 4.5)
            if start == 0:
                types = {name: getattr(it, "dtype", None) or it.type.content for name, it in columns.items()}
                tree = file.mktree("Events", types, initial_basket_capacity=events // 50_000 + 1)
            tree.extend(columns)
    path.with_suffix(".part").replace(path)


def make_columns(count, random, jets):
    def objects(mean, falling, **more):
        counts = random.poisson(mean, count)
        total = int(counts.sum())
        four = {
            "pt": 15 + random.exponential(falling, total),
            "eta": random.normal(0, 1.4, total),
            "phi": random.uniform(-np.pi, np.pi, total),
            "mass": random.exponential(8.0, total),
        }
        columns = {name: values.astype(np.float32) for name, values in four.items()}
        columns |= {name: make(total) for name, make in more.items()}
        return ak.unflatten(ak.zip(columns), counts)

    def small(total):
        return random.exponential(1.5, total).astype(np.float32)

    def charge(total):
        return random.choice(np.array([-1, 1], np.int32), total)

    def isolation(total):
        return small(total) / np.float32(10)

    electrons = objects(0.5, 30, charge=charge, cutBased=lambda n: random.integers(0, 5, n, np.int32), sip3d=small)
    muons = objects(
        0.5,
        30,
        charge=charge,
        tightId=lambda n: random.random(n) < 0.8,
        sip3d=small,
        pfRelIso04_all=lambda n: small(n) / np.float32(10),
    )
    jet = objects(
        jets, 45,
        btagCSVV2=lambda n: random.beta(0.6, 1.4, n).astype(np.float32),
        jetId=lambda n: random.choice(np.array([0, 2, 6, 6, 6, 6], np.int32), n),
    )  # fmt: skip
    numbers = {"run": np.ones(count, np.uint32), "luminosityBlock": np.ones(count, np.uint32)}
    return {**numbers, "event": np.arange(count, dtype=np.uint64), "Electron": electrons, "Muon": muons, "Jet": jet}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="in all samples (default 20000)")
    parser.add_argument("--folder", type=Path, default=Path("agc"), help="where the samples are (default ./agc)")
    parser.add_argument("--only", choices=["processor", "kernel"])
    parser.add_argument("--master", help="a standing master's name or connection file")
    options = parser.parse_args()
    fileset = make_fileset(options.folder.resolve(), options.events)
    with em.connect(options.master) as session:
        found = {}
        if options.only != "kernel":
            query = session.process(em.Dataset(fileset, tree="Events"), processor(), name="processor")
            found["processor"] = by_name(query.result()["hist_dict"])
        if options.only != "processor":
            found["kernel"] = run_kernel(session, fileset)
    for way, filled in found.items():
        print(f"{way}: {len(filled)} histograms")
        for region in REGIONS:
            for process in CROSS_SECTIONS:
                print(f"  {region} {process:<18} {filled[region, process, 'nominal'].sum():>12.1f} events")


if __name__ == "__main__":
    main()
