"""Writes `indexed.root` with ROOT 6.40 (`pip install root`), and prints what ROOT reads of it, joined by the index.

`events` has run, event (64 bits, some negative) and x; `scores` the same in another order and more, with lists and an
index by both; `twice` has two entries for each event, and an index by event alone; `short` lacks entry 150 of the events.
"""

from __future__ import annotations

import sys

import ROOT

CODE = r"""
#include <random>
void fill(TTree &tree, const std::vector<std::pair<int, Long64_t>> &ids, bool lists) {
  Int_t run, n; Long64_t event; Double_t score; Float_t pt[4]; std::string word; std::vector<int> hits;
  tree.Branch("run", &run); tree.Branch("event", &event); tree.Branch("score", &score);
  if (lists) {
    tree.Branch("n", &n, "n/I"); tree.Branch("pt", pt, "pt[n]/F"); tree.Branch("word", &word); tree.Branch("hits", &hits);
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    run = ids[i].first; event = ids[i].second; score = run * 1000. + event + 0.001 * i; n = (run + (event & 7)) % 4;
    for (int k = 0; k < n; ++k) pt[k] = score + k;
    word = "e" + std::to_string(event); hits = {run, int(event & 63)};
    tree.Fill();
  }
}
void write(const char *name) {
  TFile file(name, "recreate"); std::mt19937 random(1);
  std::vector<std::pair<int, Long64_t>> ids;
  for (int i = 0; i < 200; ++i) ids.push_back({1 + i / 70, i % 70 == 3 ? -5LL : (i % 70) * 5000000000LL + i});
  TTree events("events", ""); Int_t run; Long64_t event; Double_t x;
  events.Branch("run", &run); events.Branch("event", &event); events.Branch("x", &x);
  for (size_t i = 0; i < ids.size(); ++i) { run = ids[i].first; event = ids[i].second; x = i; events.Fill(); }
  events.Write();
  auto missing = ids[150];
  for (int i = 0; i < 30; ++i) ids.push_back({9, i});
  auto shuffled = ids; std::shuffle(shuffled.begin(), shuffled.end(), random);
  TTree scores("scores", ""); scores.SetAutoFlush(32); fill(scores, shuffled, true);
  scores.BuildIndex("run", "event"); scores.Write();
  auto both = shuffled; both.insert(both.end(), ids.begin(), ids.end());
  TTree twice("twice", ""); fill(twice, both, false); twice.BuildIndex("event"); twice.Write();
  shuffled.erase(std::find(shuffled.begin(), shuffled.end(), missing));
  TTree lacks("short", ""); fill(lacks, shuffled, false); lacks.BuildIndex("run", "event"); lacks.Write();
}
void answers(const char *name) {
  TFile file(name);
  for (auto friend_ : {"scores", "twice"}) {
    auto events = file.Get<TTree>("events"); auto other = file.Get<TTree>(friend_);
    Int_t run; Long64_t event; events->SetBranchAddress("run", &run); events->SetBranchAddress("event", &event);
    Double_t score; other->SetBranchAddress("score", &score);
    Double_t sum = 0; Long64_t entries = 0;
    for (Long64_t i = 0; i < events->GetEntries(); ++i) {
      events->GetEntry(i);
      auto by_event = TString(friend_) == "twice";
      auto entry = by_event ? other->GetEntryNumberWithIndex(event) : other->GetEntryNumberWithIndex(run, event);
      other->GetEntry(entry); sum += (i + 1) * score; entries += (i + 1) * entry;
    }
    printf("%s: sum of (i + 1) * score %.6f, of (i + 1) * entry %lld\n", friend_, sum, entries);
  }
  auto events = file.Get<TTree>("events"); events->AddFriend("scores", &file);
  events->Draw("scores.pt * (1 + x) >> h(10, 0, 1e18)", "", "goff");
  printf("pt: %lld values, of which the first %.3f\n", events->GetSelectedRows(), events->GetV1()[0]);
}
"""
if __name__ == "__main__":
    ROOT.gInterpreter.Declare(CODE)
    ROOT.write(sys.argv[1])
    ROOT.answers(sys.argv[1])
