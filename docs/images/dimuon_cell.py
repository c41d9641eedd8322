# ruff: noqa
@em.kernel(
    mass=Hist.new.Reg(120, 0, 120, label=r"$m_{\mu\mu}$ [GeV]").Double(),
    muons=Hist.new.Reg(40, 0, 80, label=r"$p_T$ [GeV]").Reg(48, -2.4, 2.4, label=r"$\eta$").Double(),
    charges=Hist.new.StrCat(["opposite", "same"], name="charge").Reg(60, 0, 120, label=r"$m_{\mu\mu}$ [GeV]").Double(),
    cutflow=np.zeros(3),
)
def dimuon(mass, muons, charges, cutflow, Muon_pt, Muon_eta, Muon_phi, Muon_charge):
    cutflow[0] += 1
    for i in range(len(Muon_pt)):
        muons.fill(Muon_pt[i], Muon_eta[i])
        for j in range(i + 1, len(Muon_pt)):
            angles = math.cosh(Muon_eta[i] - Muon_eta[j]) - math.cos(Muon_phi[i] - Muon_phi[j])
            m = math.sqrt(2 * Muon_pt[i] * Muon_pt[j] * angles)
            cutflow[1] += 1
            if Muon_charge[i] == Muon_charge[j]:
                charges.fill("same", m)
            else:
                charges.fill("opposite", m)
                cutflow[2] += 1
                mass.fill(m)


query = session.process("events/*.root", dimuon)
query
