// Histograms of a result side by side, and what is chosen of them. The notebook widget and the status page have it in them.

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

const isDark = () => {
  const { jpThemeLight } = document.body.dataset; // JupyterLab says it
  if (jpThemeLight !== undefined) return jpThemeLight === "false";
  if (document.body.classList.contains("vscode-dark")) return true;
  return globalThis.matchMedia?.("(prefers-color-scheme: dark)").matches && !document.body.classList.contains("vscode-light");
};

/** What a result holds: histograms to choose from, their pictures, and rows of numbers. It keeps nothing of what is chosen. */
class Board {
  /** `change(name, value)` is called when the user has chosen: another value of `filter`, `shown`, `picks`, `windows`, `log` or `together`. */
  constructor(element, change) {
    this.change = change;
    this.windows = {}; // by name: from where to where of its first axis
    this.plots = new Map(); // by name: the picture, and where its drawings are
    this.choices = make("div", { className: "em-choices" });
    this.pictures = make("div", { className: "em-pictures" });
    this.rows = make("table", { className: "em-rows" });
    element.append(this.choices, this.pictures, this.rows);
  }

  /** Show what there is: `items`, how many `more` are not listed, and what is chosen. */
  list({ items, more, filter, shown, picks, windows, log, together }) {
    const { change } = this;
    this.windows = windows;
    const histograms = items.filter((item) => item.kind === "histogram");
    const parts = [];
    if (histograms.length > 1 || more || filter) {
      for (const { name } of histograms) {
        const pressed = shown.includes(name);
        parts.push(make("button", {
          className: "em-chip", textContent: name || "result", "aria-pressed": String(pressed),
          onclick: () => change("shown", pressed ? shown.filter((other) => other !== name) : [...shown, name]),
        }));
      }
      if (more || filter) {
        parts.push(make("input", {
          placeholder: `find one of ${(histograms.length + more).toLocaleString()} …`, value: filter,
          onchange: (event) => change("filter", event.target.value),
        }));
      }
    }
    for (const { name, menus } of histograms.filter(({ name }) => shown.includes(name))) {
      for (const [axis, labels] of Object.entries(menus)) parts.push(this.#menu(name, axis, labels, picks));
    }
    if (histograms.length) {
      parts.push(this.#box("log", log, "log", "a logarithmic scale"));
      if (shown.length > 1) parts.push(this.#box("together", together, "compare", "all that are shown in one picture, each scaled to 1"));
    }
    this.choices.replaceChildren(...parts);
    const told = items.filter((item) => item.kind === "row");
    this.rows.replaceChildren(...told.map(({ name, text }) =>
      make("tr", {}, make("th", { textContent: name || "result" }), make("td", { textContent: text }))));
  }

  #menu(name, axis, labels, picks) {
    const picked = picks[name]?.[axis] ?? "";
    const options = [["", "as it comes"], ["sum", "all, summed"], ["overlay", "overlaid"], ...labels.map((label, at) => [at, label])];
    const choose = (event) => {
      const value = event.target.value;
      const of = { ...picks[name] };
      if (value === "") delete of[axis];
      else of[axis] = /^\d+$/.test(value) ? Number(value) : value;
      this.change("picks", { ...picks, [name]: of });
    };
    return make("label", {}, `${axis} `, make("select", { onchange: choose }, ...options.map(([value, text]) =>
      make("option", { value, textContent: text, selected: String(picked) === String(value) }))));
  }

  #box(name, checked, text, title) {
    return make("label", { title }, make("input", {
      type: "checkbox", checked, onchange: (event) => this.change(name, event.target.checked),
    }), ` ${text}`);
  }

  /** Draw pictures: `{ name, drawings, arrays }`, of each drawing its contents and variances (null for counts). */
  async draw(JSROOT, told, { log, dark }) {
    const names = told.map(({ name }) => name);
    for (const name of [...this.plots.keys()]) if (!names.includes(name)) this.#drop(name);
    for (const { name, drawings, arrays } of told) {
      if (!this.plots.has(name)) this.#add(JSROOT, name);
      const { legend, plot } = Object.assign(this.plots.get(name), { reduced: drawings[0].reduced });
      legend.replaceChildren(
        ...(drawings.length > 1 ? drawings.map(({ label }, nth) => make("span", {},
          make("i", { style: `background:${COLORS[nth % COLORS.length]}` }), label)) : []),
        ...drawings[0].notes.map((note) => make("span", { className: "em-note", textContent: note })));
      await plot.draw(drawings, arrays, { log, dark });
    }
  }

  #add(JSROOT, name) {
    const canvas = make("div", { className: "em-canvas" });
    const legend = make("div", { className: "em-legend" });
    const frame = make("figure", {}, make("figcaption", { textContent: name }), legend, canvas);
    this.pictures.append(frame);
    this.plots.set(name, { frame, legend, plot: new Plot(JSROOT, canvas, (range) => this.#zoomed(name, range)) });
  }

  /** Of a histogram that was made small, what is looked at closely is to come with its own bins. */
  #zoomed(name, range) {
    const { [name]: before, ...others } = this.windows;
    if (range && this.plots.get(name)?.reduced) this.change("windows", { ...others, [name]: range });
    else if (before) this.change("windows", others);
  }

  #drop(name) {
    const { frame, plot } = this.plots.get(name);
    plot.close();
    frame.remove();
    this.plots.delete(name);
  }

  close() {
    for (const { plot } of this.plots.values()) plot.close();
  }
}
