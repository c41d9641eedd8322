// A query in a notebook: how far it is, its histograms as they grow, what its analysis said, and buttons to end it.
// The kernel sends the model's `view` as it changes; pictures come as messages, one at a time: the next one is sent when this
// one has been seen, so that a page that is hidden, or gone, costs nothing.

const CHOICES = ["items", "more", "filter", "shown", "picks", "windows", "log", "together"];

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
  const head = make("div", { className: "em-head" });
  const words = make("div", { className: "em-words" });
  const result = make("div");
  const output = make("div", { className: "em-output" });
  el.classList.add("eventmill");
  el.replaceChildren(head, words, result, output);

  const board = new Board(result, (trait, value) => {
    model.set(trait, value);
    model.save_changes();
  });

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
    board.list(Object.fromEntries(CHOICES.map((name) => [name, model.get(name)])));
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
    let at = 0;
    const take = () => {
      const { buffer, byteOffset, byteLength } = buffers[at++];
      return new Float64Array(buffer.slice(byteOffset, byteOffset + byteLength));
    };
    const pictures = message.pictures.map(({ name, drawings }) => (
      { name, drawings, arrays: drawings.map(({ kind }) => [take(), kind === "counts" ? null : take()]) }));
    await board.draw(JSROOT, pictures, { log: model.get("log"), dark: isDark() });
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
  const heard = { "change:view": showView, [CHOICES.map((name) => `change:${name}`).join(" ")]: showChoices, "change:output": showOutput };
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
    board.close();
  };
}

export default { render };
