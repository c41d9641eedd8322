// What analyses and workers have said, with search; and errors, each kind once.
/* global make */

import { api, clock, exact, fill, repeated } from "./dom.js";

/** A line as it is shown: when, who, what, how often. */
export function logLine(line) {
  const who = line.worker ? `${line.worker}${line.slot === null ? "" : `:${line.slot}`}` : "–";
  const before = line.source === "warning" || line.source === "worker" ? `${line.level}: ` : line.source === "logging" ? `${line.level} ${line.place} ` : "";
  return make("div", { className: `line ${line.source}` },
    make("time", { textContent: clock(line.time) }),
    make("span", { className: "who", textContent: who, title: who }),
    make("span", { className: "what" }, before + line.text, line.count > 1 ? make("em", { textContent: ` ${exact(line.count)} times` }) : null));
}

const delayed = (run) => {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, 250);
  };
};

export function logsView(main) {
  const asked = { grep: "", worker: "", query: "", source: "", tail: 300 };
  const lines = make("div", { className: "log tall" }), note = make("p", { className: "dim" });
  const field = (name, placeholder) => make("input", {
    type: "search", placeholder, "aria-label": placeholder, oninput: (event) => {
      asked[name] = event.target.value;
      soon();
    },
  });
  const sources = ["", "stdout", "stderr", "warning", "logging", "error", "worker"];
  const source = make("select", { "aria-label": "source", onchange: (event) => {
    asked.source = event.target.value;
    turn();
  } }, ...sources.map((name) => make("option", { value: name, textContent: name || "from anywhere" })));
  main.append(make("div", { className: "filters" }, field("grep", "search (a regular expression)"), field("worker", "worker"), field("query", "query"), source), note, lines);
  const turn = repeated(async () => {
    try {
      const told = await api("logs", asked);
      note.textContent = told.unkept?.lines ? `${exact(told.unkept.lines)} more lines were too much to keep` : "";
      const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 30;
      fill(lines, ...(told.lines.length ? told.lines.map(logLine) : [make("p", { className: "empty", textContent: "nothing was said" })]));
      if (atEnd) lines.scrollTop = lines.scrollHeight;
    } catch (problem) {
      note.textContent = problem.message;
    }
  });
  const soon = delayed(turn);
  return { summary: turn, close() {} };
}

export function failuresView(main) {
  const list = make("div");
  main.append(list);
  const open = new Set();
  const turn = repeated(async () => {
    const { rows } = await api("failures");
    fill(list, ...(rows.length ? rows.map(failureOf) : [make("p", { className: "empty", textContent: "no failures: all is well" })]));
  });
  function failureOf(failure) {
    const key = `${failure.query} ${failure.number}`;
    const details = make("details", { className: "panel failure", open: open.has(key), ontoggle: () => (details.open ? open.add(key) : open.delete(key)) },
      make("summary", {}, make("b", { textContent: failure.error }), make("span", { className: "dim", textContent: ` ${failure.query ? `in ${failure.query}` : ""} · ${exact(failure.count)} ${failure.count === 1 ? "time" : "times"} · last ${clock(failure.last)}` }),
        make("div", { textContent: failure.message })),
      make("div", { className: "dim", textContent: [failure.worker, failure.where].filter(Boolean).join(" · ") }),
      make("pre", { textContent: failure.traceback }));
    return details;
  }
  return { summary: turn, close() {} };
}
