// Histograms that JSROOT draws, and draws again as they grow. The notebook widget and the status page have it in them.

/** JSROOT from its text (jsroot.min.js): once a page, whoever asks for it. It is loaded from nowhere else. */
async function loadJsroot(text) {
  const key = Symbol.for("eventmill.jsroot");
  globalThis[key] ??= import(/* @vite-ignore */ URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  return globalThis[key];
}

const COLORS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];

/** A histogram of ROOT's. `drawing` is what `Drawing.description` gives, its arrays are Float64Array. */
function rootHistogram(JSROOT, drawing, contents, variances) {
  const [x, y] = drawing.axes;
  const histogram = y ? JSROOT.createHistogram("TH2D", x.bins, y.bins) : JSROOT.createHistogram("TH1D", x.bins);
  setAxis(JSROOT, histogram.fXaxis, x);
  if (y) setAxis(JSROOT, histogram.fYaxis, y);
  else histogram.fYaxis.fTitle = { counts: "entries", weights: "sum of weights", means: "mean" }[drawing.kind];
  histogram.fYaxis.fTitleOffset = 1.5;
  histogram.fXaxis.fTitleOffset = 1.1;
  histogram.fName = drawing.label || drawing.name;
  histogram.fTitle = "";
  histogram.fArray = contents;
  histogram.fSumw2 = variances ?? [];
  setStatistics(histogram, x, y, contents, variances);
  return histogram;
}

function setAxis(JSROOT, axis, told) {
  axis.fTitle = told.title;
  if (told.labels.length) {
    axis.fXmin = 0;
    axis.fXmax = told.bins;
    axis.fLabels = JSROOT.create("THashList");
    told.labels.forEach((label, at) => {
      const text = JSROOT.create("TObjString");
      text.fString = label;
      text.fUniqueID = at + 1;
      axis.fLabels.Add(text, "");
    });
  } else {
    axis.fXmin = told.edges[0];
    axis.fXmax = told.edges.at(-1);
    if (!told.even) axis.fXbins = told.edges;
  }
}

function centers(axis) {
  const step = (axis.edges.at(-1) - axis.edges[0]) / axis.bins;
  return Array.from({ length: axis.bins }, (_, at) =>
    axis.labels.length ? at + 0.5 : axis.even ? axis.edges[0] + (at + 0.5) * step : (axis.edges[at] + axis.edges[at + 1]) / 2);
}

/** Sums over what is within the axes, as ROOT makes them from bins: of entries that nobody has any more. */
function setStatistics(histogram, x, y, contents, variances) {
  const xs = centers(x), ys = y ? centers(y) : [0], width = x.bins + 2;
  const sums = { w: 0, w2: 0, wx: 0, wx2: 0, wy: 0, wy2: 0, wxy: 0 };
  for (let row = 0; row < ys.length; row++) {
    for (let column = 0; column < xs.length; column++) {
      const cell = (y ? (row + 1) * width : 0) + column + 1, weight = contents[cell];
      if (!weight) continue;
      sums.w += weight;
      sums.w2 += variances ? variances[cell] : weight;
      sums.wx += weight * xs[column];
      sums.wx2 += weight * xs[column] ** 2;
      sums.wy += weight * ys[row];
      sums.wy2 += weight * ys[row] ** 2;
      sums.wxy += weight * xs[column] * ys[row];
    }
  }
  let entries = 0;
  for (const content of contents) entries += content;
  histogram.fEntries = entries;
  histogram.fTsumw = sums.w;
  histogram.fTsumw2 = sums.w2;
  histogram.fTsumwx = sums.wx;
  histogram.fTsumwx2 = sums.wx2;
  if (y) {
    histogram.fTsumwy = sums.wy;
    histogram.fTsumwy2 = sums.wy2;
    histogram.fTsumwxy = sums.wxy;
  }
}

/** Colours of a page that is light or dark; and margins. (JSROOT's own dark mode inverts all colours, those of data too.) */
function setStyle(JSROOT, dark, flat) {
  const paper = JSROOT.addColor(dark ? "#16181d" : "#ffffff"), ink = JSROOT.addColor(dark ? "#d5d9e0" : "#1c1f24");
  Object.assign(JSROOT.gStyle, {
    fPadLeftMargin: 0.14, fPadRightMargin: flat ? 0.04 : 0.13, fPadTopMargin: 0.05, fPadBottomMargin: 0.12,
    fCanvasColor: paper, fPadColor: paper, fFrameFillColor: paper, fFrameLineColor: ink,
    fStatColor: paper, fStatTextColor: ink, fStatBorderSize: 1, fStatStyle: 0,
  });
}

function setColors(JSROOT, histogram, dark) {
  const ink = JSROOT.addColor(dark ? "#d5d9e0" : "#1c1f24");
  for (const axis of [histogram.fXaxis, histogram.fYaxis, histogram.fZaxis]) {
    Object.assign(axis, { fAxisColor: ink, fLabelColor: ink, fTitleColor: ink });
  }
}

/** A range from zero to a little above all contents; of several histograms JSROOT takes that of the first one. */
function setRange(objects, arrays, log, isSeen = () => true) {
  let least = Infinity, most = -Infinity, positive = Infinity;
  for (const [contents, variances] of arrays) {
    for (let bin = 1; bin < contents.length - 1; bin++) {
      if (!isSeen(bin - 1)) continue;
      const error = variances ? Math.sqrt(variances[bin]) : 0;
      least = Math.min(least, contents[bin] - (contents[bin] ? error : 0));
      most = Math.max(most, contents[bin] + error);
      if (contents[bin] > 0) positive = Math.min(positive, contents[bin]);
    }
  }
  if (!(most > 0) || (log && positive === Infinity)) return;
  for (const object of objects) {
    object.fMinimum = log ? positive / 2 : Math.min(0, 1.05 * least);
    object.fMaximum = log ? 2 * most : 1.08 * most;
  }
}

/** After so long JSROOT has zoomed, which it does in steps. */
const ZOOM_MS = 300;

/** One picture: histograms over each other, or a single one, drawn and drawn again. */
class Plot {
  /** `zoomed(range)` is called when the user looks at some of the first axis (`[low, high]`) or at all of it again (null). */
  constructor(JSROOT, element, zoomed = () => {}) {
    this.JSROOT = JSROOT;
    this.element = element;
    this.zoomed = zoomed;
    this.range = null;
    this.what = "";
    for (const event of ["mouseup", "dblclick", "wheel", "touchend"]) {
      element.addEventListener(event, () => setTimeout(() => this.#look(), ZOOM_MS), { passive: true });
    }
    this.how = "";
    this.painter = null;
    this.turn = Promise.resolve();
    this.observer = new ResizeObserver(() => this.painter && JSROOT.resize(this.element));
    this.observer.observe(element);
  }

  /** Draw `drawings` with their arrays; the next one waits until this one is drawn. */
  draw(drawings, arrays, { log = false, dark = false } = {}) {
    this.turn = this.turn.then(() => this.#draw(drawings, arrays, log, dark)).catch((error) => {
      this.element.textContent = `cannot be drawn: ${error.message}`;
    });
    return this.turn;
  }

  async #draw(drawings, arrays, log, dark) {
    const { JSROOT } = this, flat = drawings[0].axes.length === 1;
    setStyle(JSROOT, dark, flat);
    const objects = drawings.map((drawing, at) => {
      const made = rootHistogram(JSROOT, drawing, ...arrays[at]);
      const color = COLORS[at % COLORS.length];
      made.fLineColor = made.fMarkerColor = JSROOT.addColor(color);
      made.fLineWidth = drawings.length > 1 ? 2 : 1;
      return made;
    });
    // Counts are filled where they stand alone; weights and means come with their errors.
    const error = drawings.some((drawing) => drawing.kind !== "counts") ? " e" : "";
    // A box of statistics (its digits, from the right: name, entries, mean, width) where it means something and has room.
    JSROOT.gStyle.fOptStat = drawings.length > 1 || !flat ? 0 : { counts: 1111, weights: 1101, means: 0 }[drawings[0].kind];
    let object = objects[0];
    let option = flat ? `hist${error}` : "colz";
    if (flat && drawings.length === 1 && !error) {
      object.fFillColor = object.fLineColor;
      object.fFillStyle = 1001;
    }
    if (drawings.length > 1) {
      object = JSROOT.createTHStack(...objects);
      object.fHistogram = rootHistogram(JSROOT, drawings[0], ...arrays[0]); // its axes
      option = `nostack hist${error}`;
    }
    for (const one of [...objects, object.fHistogram ?? object]) setColors(JSROOT, one, dark);
    const what = JSON.stringify(drawings.map(({ name, label, axes }) => [name, label, axes.map(({ title }) => title)]));
    if (what !== this.what) this.range = null;
    this.what = what;
    const [low, high] = this.range ?? [];
    if (flat) {
      // Where somebody looks closely at one that was made small, its bins are narrower than elsewhere, and have less in them.
      const at = this.range && drawings[0].reduced ? centers(drawings[0].axes[0]) : null;
      setRange([object, object.fHistogram ?? object], arrays, log, (bin) => !at || (at[bin] > low && at[bin] < high));
    }
    if (log) option += flat ? " logy" : " logz";
    // What is zoomed in stays so, unless something else is drawn than before.
    const how = JSON.stringify([option, dark, drawings.map(({ name, label, axes }) => [name, label, axes])]);
    if (how === this.how && this.painter) await this.painter.redrawObject(object);
    else {
      this.#clear();
      const painter = drawings.length > 1 ? JSROOT.THStackPainter : flat ? JSROOT.TH1Painter : JSROOT.TH2Painter;
      this.painter = await painter.draw(this.element, object, option);
      this.how = how;
      if (this.range) await this.painter.getFramePainter()?.zoom("x", low, high, true);
    }
  }

  /** Tell what is looked at, if that has changed. */
  #look() {
    const frame = this.painter?.getFramePainter();
    if (!frame) return;
    const range = frame.zoom_xmin === frame.zoom_xmax ? null : [frame.zoom_xmin, frame.zoom_xmax];
    if (JSON.stringify(range) === JSON.stringify(this.range)) return;
    this.range = range;
    this.zoomed(range);
  }

  #clear() {
    this.JSROOT.cleanup(this.element);
    this.element.replaceChildren();
    this.painter = null;
  }

  close() {
    this.observer.disconnect();
    this.turn = this.turn.then(() => this.#clear());
  }
}
