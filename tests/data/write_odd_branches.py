"""Writes odd_branches.root with ROOT 6.40: trees with branches that uproot does not know how to read, beside plain ones.

python tests/data/write_odd_branches.py

Event i has x = i / 2, n = i % 3 and list[n] of i + j; the trees and RNTuples differ in what stands beside these.
"""

from pathlib import Path

import ROOT

ROOT.gInterpreter.Declare("""
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <map>
#include <variant>

const int EVENTS = 60;

void write(const char* name) {
    TFile file(name, "RECREATE");
    {
        TTree tree("objects", "");
        Float_t x = 0; Int_t n = 0; Float_t list[3]; Float_t a[3]; Int_t b[3]; Float16_t c[3]; Int_t late = 0;
        TLorentzVector vector; TLorentzVector* at = &vector;
        TObjArray array; TObjArray* arrayAt = &array;
        TBits bits; TBits* bitsAt = &bits;
        std::map<std::string, int> map; auto* mapAt = &map;
        TRef ref; TRef* refAt = &ref;
        TNamed named; TNamed* namedAt = &named;
        TH1F histogram("h", "", 2, 0, 1); TH1F* histogramAt = &histogram;
        tree.Branch("x", &x, "x/F");
        tree.Branch("n", &n, "n/I");
        tree.Branch("list", list, "list[n]/F");
        tree.Branch("p4", &at, 1000, 0);
        tree.Branch("c", c, "c[3]/f");
        tree.Branch("lists", a, "a[n]/F:b[n]/I");
        tree.Branch("array", &arrayAt, 2000, 0);
        tree.Branch("bits", &bitsAt, 2000, 0);
        tree.Branch("map", &mapAt);
        tree.Branch("ref", &refAt, 2000, 0);
        tree.Branch("named", &namedAt, 2000, 0);
        tree.Branch("histogram", &histogramAt, 2000, 0);
        for (int i = 0; i < EVENTS; i++) {
            x = i / 2.; n = i % 3;
            for (int j = 0; j < 3; j++) { list[j] = i + j; a[j] = i; b[j] = j; c[j] = j; }
            vector.SetPxPyPzE(i, 0, 0, i + 1);
            map = {{"k", i}};
            bits.SetBitNumber(i % 8);
            array.Clear();
            if (i % 2) array.Add(&named);
            tree.Fill();
        }
        tree.Branch("empty", &late, "empty/I");
        tree.Write();
    }
    {
        auto model = ROOT::RNTupleModel::Create();
        auto x = model->MakeField<float>("x");
        auto list = model->MakeField<std::vector<float>>("list");
        auto choice = model->MakeField<std::variant<int, std::string>>("choice");
        auto map = model->MakeField<std::map<std::string, int>>("map");
        model->AddField(std::make_unique<ROOT::RStreamerField>("streamed", "TLorentzVector"));
        auto streamed = model->GetDefaultEntry().GetPtr<TLorentzVector>("streamed");
        auto writer = ROOT::RNTupleWriter::Append(std::move(model), "ntuple", file);
        for (int i = 0; i < EVENTS; i++) {
            *x = i / 2.; list->clear();
            for (int j = 0; j < i % 3; j++) list->push_back(i + j);
            if (i % 2) *choice = i; else *choice = std::string("s");
            *map = {{"k", i}};
            streamed->SetPxPyPzE(i, 0, 0, i + 1);
            writer->Fill();
        }
    }
}
""")
ROOT.write(str(Path(__file__).with_name("odd_branches.root")))
