"""Writes clones.root with ROOT 6.40: objects in a split TClonesArray, as Delphes, Belle II and FairRoot have them.

python tests/data/write_clones.py

Event i has i % 4 jets; jet j of it has fX = i + j / 8 and fY = -j. `Jet_size` is how many there are.
"""

from pathlib import Path

import ROOT

ROOT.gInterpreter.Declare("""
void write(const char* name) {
    TFile file(name, "RECREATE");
    TTree tree("Delphes", "");
    TClonesArray jets("TVector2");
    Int_t size = 0;
    tree.Branch("Jet", &jets, 4000, 99);
    tree.Branch("Jet_size", &size, "Jet_size/I");
    for (int i = 0; i < 200; i++) {
        jets.Clear();
        size = i % 4;
        for (int j = 0; j < size; j++) new (jets[j]) TVector2(i + j / 8., -j);
        tree.Fill();
    }
    tree.Write();
}
""")
path = str(Path(__file__).with_name("clones.root"))
ROOT.write(path)
file = ROOT.TFile.Open(path)
tree = file.Get("Delphes")
print("jets", tree.Draw("Jet.fX", "", "goff"), "sum", sum(tree.GetV1()[i] for i in range(tree.GetSelectedRows())))
print("above 100:", tree.Draw("Jet.fX", "Jet.fX > 100", "goff"))
tree.Draw("Jet.fY", "Jet.fX > 100", "goff")
print("sum of fY of these:", sum(tree.GetV1()[i] for i in range(tree.GetSelectedRows())))
