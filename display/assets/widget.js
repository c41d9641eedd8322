// A query in a notebook: how far it is, its histograms as they grow, what its analysis said, and buttons to end it.
// The kernel sends the model's `view` as it changes; pictures come as messages, one at a time: the next one is sent when this
// one has been seen, so that a page that is hidden, or gone, costs nothing.

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

/** Asks the kernel until it answers: what is asked before JupyterLab has a subshell for us waits until the cell is over. */
function ask(model, want) {
  model.send({ want });
  const again = setInterval(() => model.send({ want }), 1000);
  return () => clearInterval(again);
}

/** JSROOT, of which the kernel has the text: nothing is loaded from a network. */
function jsrootOf(model) {
  return new Promise((done) => {
    const answered = ask(model, "jsroot");
    const take = (message, buffers) => {
      if (message.what !== "jsroot") return;
      answered();
      model.off("msg:custom", take);
      const unpacked = new Blob([buffers[0]]).stream().pipeThrough(new DecompressionStream("gzip"));
      new Response(unpacked).text().then((text) => done(loadJsroot(text)));
    };
    model.on("msg:custom", take);
  });
}

function render({ model, el }) {
  const loaded = globalThis[Symbol.for("eventmill.jsroot")] ?? jsrootOf(model);
  const plots = new Map(); // by name: the picture, and where its drawings are
  const head = make("div", { className: "em-head" });
  const words = make("div", { className: "em-words" });
  const choices = make("div", { className: "em-choices" });
  const pictures = make("div", { className: "em-pictures" });
  const rows = make("table", { className: "em-rows" });
  const output = make("div", { className: "em-output" });
  el.classList.add("eventmill");
  el.replaceChildren(head, words, choices, pictures, rows, output);

  const change = (trait, value) => {
    model.set(trait, value);
    model.save_changes();
  };

  // --- how far it is ------------------------------------------------------------------------------------------------

  const bar = make("div", { className: "em-bar" }, make("div"));
  const name = make("b"), percent = make("span", { className: "em-percent" });
  const stop = make("button", { textContent: "stop", title: "end it and keep what is merged", onclick: () => end("stop") });
  const abort = make("button", { textContent: "abort", title: "end it and drop what is merged", onclick: () => end("abort") });
  head.append(name, bar, percent, stop, abort);

  function end(how) {
    stop.disabled = abort.disabled = true;
    model.send({ do: how });
  }

  function showView() {
    const view = model.get("view");
    el.dataset.state = view.state ?? "";
    name.textContent = view.name ?? "";
    const known = view.fraction !== null && view.fraction !== undefined;
    bar.firstChild.style.width = `${100 * (view.fraction ?? 0)}%`;
    bar.classList.toggle("em-unknown", !known && !view.final);
    percent.textContent = known ? `${Math.floor(100 * view.fraction)} %` : "";
    words.textContent = (view.words ?? []).join("  ·  ");
    stop.hidden = abort.hidden = Boolean(view.final);
    if (view.orphan) words.textContent += "  ·  the kernel that ran it is gone";
  }

  // --- what it holds ------------------------------------------------------------------------------------------------

  function showChoices() {
    const items = model.get("items"), shown = model.get("shown"), picks = model.get("picks");
    const histograms = items.filter((item) => item.kind === "histogram");
    const more = model.get("more");
    const parts = [];
    if (histograms.length > 1 || more || model.get("filter")) {
      for (const { name } of histograms) {
        const pressed = shown.includes(name);
        parts.push(make("button", {
          className: "em-chip", textContent: name || "result", "aria-pressed": String(pressed),
          onclick: () => change("shown", pressed ? shown.filter((other) => other !== name) : [...shown, name]),
        }));
      }
      if (more || model.get("filter")) {
        parts.push(make("input", {
          placeholder: `find one of ${(histograms.length + more).toLocaleString()} …`, value: model.get("filter"),
          onchange: (event) => change("filter", event.target.value),
        }));
      }
    }
    for (const { name, menus } of histograms.filter(({ name }) => shown.includes(name))) {
      for (const [axis, labels] of Object.entries(menus)) {
        const picked = picks[name]?.[axis] ?? "";
        const options = [["", "as it comes"], ["sum", "all, summed"], ["overlay", "overlaid"], ...labels.map((label, at) => [at, label])];
        parts.push(make("label", {}, `${axis} `, make("select", {
          onchange: (event) => {
            const value = event.target.value;
            const pick = /^\d+$/.test(value) ? Number(value) : value;
            const of = { ...picks[name] };
            if (value === "") delete of[axis];
            else of[axis] = pick;
            change("picks", { ...picks, [name]: of });
          },
        }, ...options.map(([value, text]) => make("option", { value, textContent: text, selected: String(picked) === String(value) })))));
      }
    }
    if (histograms.length) {
      for (const [trait, text, title] of [["log", "log", "a logarithmic scale"], ["together", "compare", "all that are shown in one picture, each scaled to 1"]]) {
        if (trait === "together" && shown.length < 2) continue;
        parts.push(make("label", { title }, make("input", {
          type: "checkbox", checked: model.get(trait), onchange: (event) => change(trait, event.target.checked),
        }), ` ${text}`));
      }
    }
    choices.replaceChildren(...parts);
    const told = items.filter((item) => item.kind === "row");
    rows.replaceChildren(...told.map(({ name, text }) =>
      make("tr", {}, make("th", { textContent: name || "result" }), make("td", { textContent: text }))));
  }

  // --- pictures -----------------------------------------------------------------------------------------------------

  let hidden = false, waiting = null;
  const seen = new IntersectionObserver(([entry]) => {
    hidden = !entry.isIntersecting;
    if (!hidden && waiting) draw(...waiting);
  });
  seen.observe(el);

  async function draw(message, buffers) {
    if (hidden || document.hidden) {
      waiting = [message, buffers];
      return;
    }
    waiting = null;
    const JSROOT = await loaded;
    const names = message.pictures.map(({ name }) => name);
    for (const [name, { frame, plot }] of plots) {
      if (names.includes(name)) continue;
      plot.close();
      frame.remove();
      plots.delete(name);
    }
    let at = 0;
    const take = () => new Float64Array(buffers[at].buffer.slice(buffers[at].byteOffset, buffers[at++].byteOffset + buffers[at - 1].byteLength));
    for (const { name, drawings } of message.pictures) {
      const arrays = drawings.map(({ kind }) => [take(), kind === "counts" ? null : take()]);
      if (!plots.has(name)) {
        const canvas = make("div", { className: "em-canvas" });
        const legend = make("div", { className: "em-legend" });
        const frame = make("figure", {}, make("figcaption", { textContent: name }), legend, canvas);
        pictures.append(frame);
        plots.set(name, { frame, legend, plot: new Plot(JSROOT, canvas) });
      }
      const { legend, plot } = plots.get(name);
      legend.replaceChildren(
        ...(drawings.length > 1 ? drawings.map(({ label }, nth) => make("span", {},
          make("i", { style: `background:${COLORS[nth % COLORS.length]}` }), label)) : []),
        ...drawings[0].notes.map((note) => make("span", { className: "em-note", textContent: note })));
      await plot.draw(drawings, arrays, { log: model.get("log"), dark: isDark() });
    }
    el.dataset.drawn = message.entries;
    model.send({ seen: message.number });
  }

  // --- what was printed ---------------------------------------------------------------------------------------------

  function showOutput() {
    const lines = model.get("output");
    output.replaceChildren(...lines.map(({ text, kind }) => make("div", { className: `em-line em-${kind}`, textContent: text })));
  }

  const take = (message, buffers) => {
    if (message.what !== "pictures") return;
    answered();
    draw(message, buffers);
  };
  const onVisible = () => !document.hidden && waiting && draw(...waiting);
  const heard = { "change:view": showView, "change:items change:shown change:picks change:more change:log": showChoices, "change:output": showOutput };
  for (const [events, handler] of Object.entries(heard)) {
    for (const event of events.split(" ")) model.on(event, handler);
  }
  model.on("msg:custom", take);
  document.addEventListener("visibilitychange", onVisible);
  showView();
  showChoices();
  showOutput();
  const answered = ask(model, "pictures");

  return () => {
    answered();
    for (const [events, handler] of Object.entries(heard)) {
      for (const event of events.split(" ")) model.off(event, handler);
    }
    model.off("msg:custom", take);
    document.removeEventListener("visibilitychange", onVisible);
    seen.disconnect();
    for (const { plot } of plots.values()) plot.close();
  };
}

export default { render };
