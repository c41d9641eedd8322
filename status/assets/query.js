// One query: how far it is, its histograms as they fill, what became of its entries, what its analysis said; stop and abort.
/* global make, Board, isDark */

import { api, bytes, count, duration, exact, fill, panel, percent, post, repeated } from "./dom.js";
import { bars } from "./charts.js";
import { logLine } from "./logs.js";

let jsroot = null;
/** JSROOT, once a histogram is to be drawn; it comes from the same server. */
const loadedJsroot = () => (jsroot ??= import("./jsroot.min.js"));

/** The numbers of an array, which travels as the base64 of its bytes; null for none. */
const floats = (text) => (text ? new Float64Array(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer) : null);

/** How far a query is, as a bar; also a line of the list of queries. */
export function progressBar(row) {
  const known = row.fraction !== null && row.fraction !== undefined;
  const bar = make("div", { className: `em-bar${known || row.final ? "" : " em-unknown"}` },
    make("div", { style: `width:${100 * (row.fraction ?? 0)}%` }));
  return make("div", { className: "eventmill bar", "data-state": row.state }, bar,
    make("span", { className: "em-percent", textContent: known ? percent(row.fraction) : "" }));
}

export const stateOf = (row) => make("span", { className: `state ${row.state}`, textContent: row.state });

const ended = new Set();

/** Buttons that end a query, for whom may; abort asks once more, since what is merged is lost with it. */
export function endings(row, role, number = row.number) {
  if (row.final || role !== "steer") return make("span");
  const end = async (event, how) => {
    if (how === "abort" && !confirm(`Abort ${row.name} (${number})? What is merged is dropped; stop keeps it.`)) return;
    ended.add(`${number} ${how}`);
    event.target.disabled = true;
    try {
      await post(`query/${encodeURIComponent(number)}/${how}`);
    } catch (problem) {
      ended.delete(`${number} ${how}`);
      alert(problem.message);
    }
  };
  const button = (how, title) => make("button", {
    textContent: how, title, disabled: ended.has(`${number} ${how}`), onclick: (event) => end(event, how),
  });
  return make("span", { className: "endings" }, button("stop", "end it and keep what is merged"), button("abort", "end it and drop what is merged"));
}

const fact = ([name, value]) => make("div", {}, make("small", { textContent: name }), make("span", { textContent: value }));

/** Entries that are not in the result, and why. */
const lossOf = ({ file, start, stop, reason }) =>
  `lost: ${file}${stop === null ? "" : `, entries ${exact(start)} to ${exact(stop)}`}: ${reason}`;

export function queryView(main, number, state) {
  const path = `query/${encodeURIComponent(number)}`;
  const head = make("div", { className: "query-head" }), words = make("div", { className: "em-words" });
  const result = make("div"), account = make("div", { className: "text" }), numbers = make("div", { className: "facts" });
  const report = make("pre"), said = make("div", { className: "log" }), spread = make("div");
  const reported = panel("What held it back", report), heard = panel("What it said", said), shares = panel("Packets a worker", spread);
  const trace = make("div"), broken = panel("What ended it", trace);
  const holder = make("section", { className: "panel eventmill" }, head, words, result);
  main.append(make("a", { className: "back", href: "#/queries", textContent: "← queries" }), holder, broken,
    make("div", { className: "columns" }, panel("Entries", numbers, account), shares), reported, heard);
  reported.hidden = heard.hidden = shares.hidden = broken.hidden = true;

  const chosen = { shown: null, filter: "", picks: {}, windows: {}, log: false, together: false };
  let listed = null, version = null, alive = true, drawing = null;
  const board = new Board(result, (name, value) => {
    chosen[name] = value;
    list();
    if (name === "filter") turn();
    else ask();
  });

  function list() {
    if (listed) board.list({ items: listed.items, more: listed.more, ...chosen, shown: chosen.shown ?? [] });
  }

  /** Pictures come one after the other, each when there is something newer; what nobody looks at is not asked for. */
  async function ask() {
    version = null;
    drawing?.abort();
    if (!chosen.shown?.length) return;
    const mine = (drawing = new AbortController());
    while (alive && mine === drawing) {
      try {
        if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
        const { shown, picks, windows, together } = chosen;
        const asked = { shown, picks: JSON.stringify(picks), windows: JSON.stringify(windows), together: together ? 1 : 0, after: version };
        const told = await api(`${path}/drawings`, asked, { signal: mine.signal });
        if (mine !== drawing) return;
        if (told) {
          version = told.snapshot;
          const pictures = told.pictures.map(({ name, drawings }) => (
            { name, drawings, arrays: drawings.map(({ arrays: [contents, variances] }) => [floats(contents), floats(variances)]) }));
          await board.draw(await loadedJsroot(), pictures, { log: chosen.log, dark: isDark() });
          holder.dataset.drawn = told.entries;
          if (told.final) return;
        }
      } catch (problem) {
        if (problem.name === "AbortError") return;
        await new Promise((done) => setTimeout(done, 2000));
      }
    }
  }

  const turn = repeated(async () => {
    let told;
    try {
      told = await api(path, { filter: chosen.filter });
    } catch (problem) {
      words.textContent = problem.message;
      return;
    }
    listed = told;
    const { row } = told;
    holder.dataset.state = row.state;
    fill(head, make("b", { textContent: row.name, title: row.name }), stateOf(row), progressBar(row), endings(row, state.role, number));
    words.textContent = row.words.join("  ·  ");
    if (chosen.shown === null && told.shown.length) {
      chosen.shown = told.shown;
      ask();
    }
    list();
    const facts = [
      ["processed", exact(row.processed)], ["of", `${row.estimated ? "about " : ""}${exact(row.total)}`], ["failed", exact(row.failed)],
      ["time", duration(row.seconds)], ["rate", `${count(row.rate)}/s`], ["read", `${bytes(row.bytes_rate)}/s`], ["slots", exact(row.slots)],
      ["owner", row.owner], ["number", row.number],
    ];
    fill(numbers, ...facts.map(fact));
    const { text, notes, lost, more_lost: more } = told.account;
    fill(account, ...[text, ...notes, ...lost.map(lossOf), more ? `and ${exact(more)} more` : ""].filter(Boolean).map((line) => make("div", { textContent: line })));
    broken.hidden = !told.failure;
    if (told.failure) fill(trace, make("b", { textContent: `${told.failure.error}: ${told.failure.message}` }), make("pre", { textContent: told.failure.traceback }));
    reported.hidden = !told.report;
    if (report.textContent !== (told.report ?? "")) report.textContent = told.report ?? "";
    await showShares();
    const { lines } = await api("logs", { query: number, tail: 100 });
    heard.hidden = !lines.length;
    fill(said, ...lines.map(logLine));
  });

  async function showShares() {
    const told = await api("spread", { query: number });
    const { counts, edges } = told.packets_a_worker;
    shares.hidden = !counts.length;
    if (!shares.hidden) fill(spread, bars(counts, edges, "packets a worker"), make("div", { className: "ends" },
      make("span", { textContent: exact(Math.ceil(edges[0])) }), make("span", { textContent: "packets" }), make("span", { textContent: exact(Math.floor(edges.at(-1))) })),
      make("div", { className: "facts" }, ...[["slots", exact(told.slots)], ["median rate of a worker", `${count(told.rates.half)}/s`],
        ["half of the slots ended", told.ends.half === null ? "–" : `${duration(told.ends.half)} before the last`],
        ["the first of them", told.ends.most === null ? "–" : duration(told.ends.most)]].map(fact)));
  }

  return {
    summary: turn,
    redraw: ask,
    close() {
      alive = false;
      drawing?.abort();
      board.close();
    },
  };
}
