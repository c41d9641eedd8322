"""Histograms as they are drawn: the numbers are those that ROOT would have, whatever axes and storages there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uproot
from eventmill.display.drawings import OVERLAY, SUM, Axis, compared, drawings, find, items
from hist import Hist

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture
def figures() -> ModuleType:
    """Not at the head of the file: all processes of a run would pay for matplotlib."""
    from eventmill.display import figures

    return figures


def filled(histogram: Any, weighted: bool) -> Any:
    draws = np.random.default_rng(7)
    values = [draws.normal(1.0, 2.0, 500) for _ in histogram.axes]
    return histogram.fill(*values, **({"weight": draws.uniform(0, 2, 500)} if weighted else {}))


@pytest.mark.parametrize("storage", ["Double", "Weight"])
@pytest.mark.parametrize("axes", ["even", "uneven", "two"])
def test_a_drawing_has_the_cells_that_uproot_writes_for_root(storage: str, axes: str) -> None:
    """With under- and overflow, in ROOT's order. uproot's writer of TH1D and TH2D is another's work."""
    made: Any = Hist.new.Var([-1, 0, 0.5, 4], label="x") if axes == "uneven" else Hist.new.Reg(5, -2, 4, label="x")
    histogram = filled(getattr(made.Reg(3, 0, 3) if axes == "two" else made, storage)(), storage == "Weight")
    (drawing,) = drawings("h", histogram)
    as_root = uproot.to_writable(histogram)
    cells = next(
        np.asarray(base) for base in as_root.bases if isinstance(base, np.ndarray) or hasattr(base, "__array__")
    )
    assert drawing.contents.tolist() == cells.tolist()
    if storage == "Weight":
        assert drawing.variances is not None
        assert drawing.variances == pytest.approx(np.asarray(as_root.member("fSumw2")))
    else:
        assert drawing.variances is None and drawing.kind == "counts"
    edges = drawing.axes[0].edges
    assert edges == pytest.approx(histogram.axes[0].edges) and drawing.axes[0].even == (axes != "uneven")


def test_axes_without_flow_have_empty_cells_there() -> None:
    histogram = Hist.new.Reg(2, 0, 2, flow=False).Double().fill([0.5, 1.5, 1.5])
    assert drawings("h", histogram)[0].contents.tolist() == [0.0, 1.0, 2.0, 0.0]
    phi = Hist.new.Reg(2, 0, 2, circular=True).Double().fill([0.5, 3.5, np.nan])
    assert drawings("h", phi)[0].contents.tolist() == [0.0, 1.0, 1.0, 1.0]


def test_categories_are_overlaid_summed_or_picked() -> None:
    histogram = (
        Hist.new.StrCat(["top", "W"], name="process").Reg(2, 0, 2, name="x").StrCat(["up"], name="shift").Double()
    )
    histogram.fill(["top", "W", "W"], [0.5, 0.5, 1.5], "up")
    told = {item.name: dict(item.menus) for item in items({"h": histogram})}
    assert told == {"h": {"process": ("top", "W"), "shift": ("up",)}}
    assert [(it.label, it.contents.tolist()) for it in drawings("h", histogram)] == [
        ("top", [0.0, 1.0, 0.0, 0.0]),
        ("W", [0.0, 1.0, 1.0, 0.0]),
    ]
    for pick, expected in ((SUM, [0.0, 2.0, 1.0, 0.0]), (1, [0.0, 1.0, 1.0, 0.0])):
        (one,) = drawings("h", histogram, {"process": pick})
        assert one.contents.tolist() == expected
    both = drawings("h", histogram, {"process": OVERLAY, "shift": OVERLAY})
    assert [it.label for it in both] == ["top", "W"], "one axis at a time is overlaid"


def test_a_cutflow_has_labels_for_its_bins() -> None:
    cuts = Hist.new.StrCat(["all", "two <b>muons</b>"], name="cut").Double().fill(["all", "all", "two <b>muons</b>"])
    (drawing,) = drawings("cuts", cuts)
    assert drawing.axes[0].labels == ("all", "two <b>muons</b>") and drawing.contents.tolist()[1:3] == [2.0, 1.0]


def test_means_are_shown_with_the_errors_of_the_means_and_never_added() -> None:
    histogram = Hist.new.StrCat(["a", "b"], name="c").Reg(1, 0, 1, name="x").Mean()
    histogram.fill("a", [0.5, 0.5, 0.5], sample=[1.0, 2.0, 3.0])
    histogram.fill("b", [0.5], sample=[10.0])
    (first,) = drawings("h", histogram, {"c": SUM})
    assert first.contents[1] == 2.0 and first.notes == ("c: a (means are not added)",)
    assert first.variances is not None and first.variances[1] == pytest.approx(1.0 / 3.0)


def test_cells_that_are_not_finite_are_empty_and_said() -> None:
    histogram = Hist.new.Reg(2, 0, 2).Weight()
    histogram.fill([0.5, 1.5], weight=[np.nan, 1.0])
    (drawing,) = drawings("h", histogram)
    assert drawing.contents.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert drawing.notes == ("1 bin is not finite, and drawn as empty",)


def test_what_is_compared_is_scaled_to_one_and_what_does_not_fit_is_left_out_loudly() -> None:
    one = Hist.new.Reg(2, 0, 2).Double().fill([0.5, 0.5, 1.5, 5.0])
    two = Hist.new.Reg(3, 0, 2).Double().fill([0.5])
    made = compared([drawings("one", one), drawings("two", two), drawings("again", one)])
    assert [part.label for part in made] == ["one", "again"] and made[0].notes == ("1 with other axes are left out",)
    assert made[0].contents.tolist() == [0.0, 0.5, 0.25, 0.25]
    assert made[0].variances is not None and made[0].variances[1] == pytest.approx(2 / 16)


@pytest.mark.parametrize("title", [r"$m_{\\mu$ [GeV]", "costs $5", "#mu #nonsense", r"m_{\mu}", "$", ""])
def test_no_title_keeps_a_picture_from_being_drawn(figures: ModuleType, title: str) -> None:
    """What is no formula is shown as it stands."""
    histogram = Hist.new.Reg(2, 0, 2, label=title).Double()
    cuts = Hist.new.StrCat(["$a", "$b$"], name="cut").Double()
    assert figures.png([drawings("$h_", histogram), drawings("cuts", cuts)], dpi=20).startswith(b"\x89PNG")


def test_everything_in_a_result_is_listed_by_a_name_that_finds_it_and_nothing_else() -> None:
    """Whatever its keys are: two that read alike must never be drawn for each other."""
    value: dict[Any, Any] = {
        "a": {"b": 1, "a/b": 2, "": 3},
        "a/b": 4,
        "a/a/b": 5,
        "'a": {"b'": 6},
        "'a/b'": 7,
        5: 8,
        "5": 9,
        "[5]": 10,
        ("mu", 2): {"x": 11},
        "/Muon/Run1/NANOAOD": {"pt": 12},
        "empty": {},
        "none": None,
    }
    names = [item.name for item in items(value)]
    assert [find(value, name) for name in names] == list(range(1, 13)) and len(set(names)) == 12
    assert names[0] == "a/b" and names[-1] == "'/Muon/Run1/NANOAOD'/pt"
    histogram = Hist.new.Reg(2, 0, 2).Double()
    assert [(item.name, item.kind) for item in items(histogram)] == [("", "histogram")]
    assert find(histogram, "") is histogram
    for name in ("a/c", "a", "", "a/b/c", "empty"):
        with pytest.raises(KeyError):
            find(value, name)


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("H_{T} [GeV]", "$H_{T}$ [GeV]"),
        ("p_{T}^{miss} (#mu#mu) [GeV]", r"$p_{T}^{miss}$ ($\mu\mu$) [GeV]"),
        ("m_{#mu#mu}", r"$m_{\mu\mu}$"),
        ("#sqrt{s} and #Delta#phi", r"$\sqrt{s}$ and $\Delta\phi$"),
        (r"$H_{T}$ and $p_T^{\mathrm{miss}}$", r"$H_{T}$ and $p_T^{\mathrm{miss}}$"),
        ("Muon_pt, 2^10 {braces} #1", "Muon_pt, 2^10 {braces} #1"),
        ("H_{T^{2}}", "$H_{T^{2}}$"),
        ("H_{T", "H_{T"),
    ],
)
def test_titles_in_the_style_of_root_are_formulas_on_paper_too(figures: ModuleType, title: str, shown: str) -> None:
    """Names of branches, whose underscores say nothing, stay as they are; so does what is not understood."""
    axis = Axis("x", title, (0.0, 1.0))
    assert figures._title(axis) == shown


def test_formulas_are_read_apart_from_those_of_the_users_figures(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last picture is drawn by a thread of the widget, while a cell may draw: in one parser, each spoils the other's."""
    from matplotlib.mathtext import MathTextParser

    made = drawings("m", Hist.new.Reg(2, 0, 2, label=r"$m_{\mu\mu}$ [GeV]").Double().fill([0.5]))
    expected = figures.png([made], dpi=50)

    class AtWork:
        """matplotlib's parser in the middle of a formula of a cell."""

        def parse(self, *arguments: Any) -> Any:
            raise ValueError("ParseException: exception raised in parse action")

    monkeypatch.setattr(MathTextParser, "_parser", AtWork())
    MathTextParser._parse_cached.cache_clear()
    assert figures.png([made], dpi=50) == expected
