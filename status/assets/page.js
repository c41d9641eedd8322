// The status page of a master. The server says once a second how all is (`events`); what else a view shows it asks for itself,
// after each of these, one request at a time: a slow browser sees fewer steps, and a page that nobody looks at asks for nothing.
/* global make */

import {
  ACTIVITIES, api, bytes, cells, checkVersion, clock, colorOf, count, duration, exact, fill, milliseconds, panel, percent, repeated, table,
} from "./dom.js";
import { DONE, Stacked, Timeline } from "./charts.js";
import { endings, progressBar, queryView, stateOf } from "./query.js";
import { failuresView, logsView } from "./logs.js";
import { poolsView } from "./pools.js";

const $ = (id) => document.getElementById(id);
/** What all views know: what the master said last, and whether its reader may steer. */
const state = { summary: null, role: "look" };

const TABS = [["", "Overview"], ["queries", "Queries"], ["workers", "Workers"], ["pools", "Pools"], ["slots", "Slots"], ["servers", "File servers"], ["failures", "Failures"], ["logs", "Logs"]];
const VIEWS = {
  "": overview, queries: queriesView, query: queryView, workers: workersView, pools: poolsView, slots: slotsView, servers: serversView,
  failures: failuresView, logs: logsView,
};

// --- the frame -------------------------------------------------------------------------------------------------------------

let view = null;

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  view?.close();
  const main = $("main");
  main.replaceChildren();
  main.className = name || "overview";
  const open = VIEWS[name] ?? overview;
  view = open(main, decodeURIComponent(rest.join("/")), state);
  const current = name === "query" ? "queries" : name;
  $("tabs").replaceChildren(...TABS.map(([key, title]) => make("a", {
    href: `#/${key}`, textContent: title, className: key === current ? "current" : "", "data-tab": key,
  })));
  showFrame();
  if (state.summary) view.summary?.(state.summary);
}

function showFrame() {
  const { summary } = state;
  if (!summary) return;
  $("master").textContent = summary.master;
  document.title = `${summary.busy}/${summary.slots} slots · eventmill`;
  say(summary.connected ? "" : "the master does not answer");
  const running = summary.queries.filter(({ final }) => !final).length;
  const tiles = [
    ["slots at work", exact(summary.busy), `of ${exact(summary.slots)}`],
    ["workers", exact(summary.workers), summary.lost ? `${exact(summary.lost)} lost` : summary.gone ? `${exact(summary.gone)} left` : ""],
    ["queries running", exact(running), ""],
    ["entries", `${count(summary.rate)}/s`, ""],
    ["read", `${bytes(summary.bytes_rate)}/s`, ""],
    ["failures", exact(summary.failures), ""],
  ];
  fill($("tiles"), ...tiles.map(([name, value, note]) => make("div", { className: name === "failures" && summary.failures ? "tile bad" : "tile" },
    make("small", { textContent: name }), make("span", { textContent: value }), note ? make("em", { textContent: note }) : null)));
  const tab = $("tabs").querySelector('[data-tab="failures"]');
  if (tab) tab.textContent = summary.failures ? `Failures (${exact(summary.failures)})` : "Failures";
}

function say(words) {
  $("connection").hidden = !words;
  $("connection").textContent = words;
}

function listen() {
  const events = new EventSource("events");
  events.addEventListener("summary", (event) => {
    const summary = JSON.parse(event.data);
    checkVersion(summary.version);
    state.summary = summary;
    state.role = summary.role;
    document.documentElement.dataset.now = summary.now;
    showFrame();
    view?.summary?.(summary);
  });
  // The browser tries again by itself, but not after an answer that is none: as when the token is not good any more.
  events.onerror = () => {
    say("no connection to the status page");
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

/** Moments of the master's clock, in seconds since 1970. */
const times = (moments) => moments.map((iso) => Date.parse(iso) / 1000);

// --- overview --------------------------------------------------------------------------------------------------------------

const MOST_CARDS = 6;
const SPANS = [[120, "2 min"], [600, "10 min"], [3600, "1 h"], [21600, "6 h"], [86400, "1 d"]];

/** Which of the last seconds are shown; it is kept for the next time. */
function spanPicker(onchange) {
  const chosen = Number(localStorage.getItem("eventmill.span")) || 600;
  const select = make("select", { "aria-label": "time", onchange: () => {
    localStorage.setItem("eventmill.span", select.value);
    onchange();
  } }, ...SPANS.map(([seconds, words]) => make("option", { value: seconds, textContent: `the last ${words}`, selected: seconds === chosen })));
  return select;
}

function overview(main) {
  const queries = make("div", { className: "cards" }), servers = make("div"), failures = make("div");
  const slots = make("div"), activities = make("div"), over = make("div");
  const pick = spanPicker(() => turn());
  const by = make("select", { "aria-label": "by", onchange: () => turn() }, ...[["site", "by site"], ["host", "by host"]].map(([value, textContent]) => make("option", { value, textContent })));
  const failed = panel("Failures", failures), before = panel("Queries that are over", over);
  main.append(queries, make("div", { className: "filters" }, pick, by),
    make("div", { className: "columns" }, panel("Slots that are there", slots), panel("What slots did", activities)),
    make("div", { className: "columns" }, panel("Now", make("div", { id: "activities" })), panel("File servers", servers)), failed, before);
  const there = new Stacked(slots), done = new Stacked(activities, { words: (name) => ACTIVITIES[name][1], color: colorOf });
  const turn = repeated(async () => {
    const told = await api("time", { by: by.value, since: pick.value });
    there.draw(times(told.times), told.slots);
    done.draw(times(told.times), Object.fromEntries(DONE.map((name) => [name, told.activities[name] ?? []])));
    const { rows: kinds } = await api("failures");
    failed.hidden = !kinds.length;
    fill(failures, ...kinds.slice(0, 5).map((kind) => make("a", { className: "line error", href: "#/failures" },
      make("span", { className: "what" }, kind.message), make("em", { textContent: `${exact(kind.count)} times` }))));
  });
  return {
    summary(summary) {
      const running = summary.queries.filter(({ final }) => !final), ended = summary.queries.filter(({ final }) => final);
      const none = make("p", { className: "empty", textContent: ended.length ? "no query is running" : "no queries yet: session.process(…) starts one" });
      fill(queries, ...(running.length ? running.slice(0, MOST_CARDS).map(card) : [none]),
        running.length > MOST_CARDS ? make("a", { href: "#/queries", textContent: `and ${exact(running.length - MOST_CARDS)} more` }) : "");
      before.hidden = !ended.length;
      fill(over, table(QUERIES, ended.slice(0, 5)));
      fill($("activities"), ...shares(summary));
      fill(servers, serversTable(summary.servers.slice(0, 8)));
      turn();
    },
    redraw: turn,
    close() {
      there.close();
      done.close();
    },
  };
}

function card(row) {
  return make("article", { className: `card ${row.state}` },
    make("div", { className: "line1" }, make("a", { href: `#/query/${encodeURIComponent(row.number)}`, textContent: row.name, title: row.name }), stateOf(row),
      make("span", { className: "dim", textContent: `${row.owner} · ${clock(row.began)}` }), make("span", { className: "grow" }), endings(row, state.role)),
    progressBar(row), make("div", { className: "em-words", textContent: row.words.join("  ·  ") }));
}

/** How many slots are at what, as one bar. */
function shares(summary) {
  const names = Object.keys(ACTIVITIES).filter((name) => summary.activities[name]);
  if (!names.length) return [make("p", { className: "empty", textContent: "no workers are there" })];
  return [
    make("div", { className: "shares" }, ...names.map((name) => make("i", {
      className: name, style: `flex:${summary.activities[name]}`, title: `${exact(summary.activities[name])} ${ACTIVITIES[name][1]}`,
    }))),
    make("div", { className: "legend wide" }, ...names.map((name) => make("span", {}, make("i", { className: name }),
      `${ACTIVITIES[name][1]} `, make("b", { textContent: exact(summary.activities[name]) })))),
  ];
}

// --- lists -----------------------------------------------------------------------------------------------------------------

const MOST = 100;

/** Which part of a long list is shown. */
function pager(asked, total, turn) {
  const to = Math.min(total, asked.offset + asked.limit);
  const step = (by) => () => {
    asked.offset = Math.max(0, asked.offset + by * asked.limit);
    turn();
  };
  return make("div", { className: "pager" },
    make("button", { textContent: "‹", "aria-label": "before", disabled: !asked.offset, onclick: step(-1) }),
    make("span", { textContent: total ? `${exact(asked.offset + 1)}–${exact(to)} of ${exact(total)}` : "none" }),
    make("button", { textContent: "›", "aria-label": "after", disabled: to >= total, onclick: step(1) }));
}

/** A list that is asked for with what the reader has typed and chosen. */
function listView(main, path, asked, filters, show) {
  const place = make("div"), problem = make("p", { className: "dim" });
  const turn = repeated(async () => {
    try {
      const told = await api(path, asked);
      problem.textContent = "";
      place.replaceChildren(...show(told, turn), pager(asked, told.total, turn));
    } catch (error) {
      problem.textContent = error.message;
    }
  });
  const again = (name) => (event) => {
    asked[name] = event.target.type === "checkbox" ? (event.target.checked ? 1 : null) : event.target.value;
    asked.offset = 0;
    turn();
  };
  main.append(make("div", { className: "filters" }, ...filters(again)), problem, place);
  return { summary: turn, close() {} };
}

const search = (placeholder, oninput) => make("input", { type: "search", placeholder, "aria-label": placeholder, oninput });

/** The columns of a list of queries. */
const QUERIES = [
  ["query", (row) => make("a", { href: `#/query/${encodeURIComponent(row.number)}`, textContent: row.name, title: row.name }), { wide: true }],
  ["state", stateOf], ["", progressBar, { wide: true }],
  ["owner", (row) => row.owner], ["began", (row) => clock(row.began)], ["time", (row) => duration(row.seconds), { number: true }],
  ["entries", (row) => count(row.processed), { number: true }], ["of", (row) => count(row.total), { number: true }],
  ["failed", (row) => count(row.failed), { number: true }], ["slots", (row) => exact(row.slots), { number: true }],
];

function queriesView(main) {
  const states = ["", "running", "merging", "done", "stopped", "aborted", "failed"];
  const columns = [...QUERIES, ["", (row) => endings(row, state.role)]];
  return listView(main, "queries", { state: "", owner: "", filter: "", offset: 0, limit: MOST }, (again) => [
    search("name", again("filter")), search("owner", again("owner")),
    make("select", { "aria-label": "state", onchange: again("state") }, ...states.map((value) => make("option", { value, textContent: value || "in any state" }))),
  ], (told) => [table(columns, told.rows, { empty: "no such queries" })]);
}

function workersView(main) {
  const asked = { filter: "", sort: "joined", order: "asc", gone: null, offset: 0, limit: 50 };
  const columns = (gone) => [
    ["worker", (row) => row.name, { key: "name" }], ["host", (row) => row.host, { key: "host" }], ["site", (row) => row.site, { key: "site" }],
    gone ? ["how it went", (row) => make("span", { className: row.lost ? "state failed" : "state done", textContent: row.lost ? `lost: ${row.how}` : row.how })]
      : ["slots", (row) => cells(row.slots), { wide: true }],
    ["there for", (row) => duration((Date.parse(row.left ?? state.summary?.time ?? row.joined) - Date.parse(row.joined)) / 1000), { number: true, key: "joined" }],
    ["packets", (row) => exact(row.packets), { number: true, key: "packets" }], ["entries", (row) => count(row.entries), { number: true, key: "entries" }],
    ["read", (row) => bytes(row.bytes_read), { number: true, key: "bytes_read" }],
    ["CPU/time", (row) => percent(row.efficiency), { number: true, key: "efficiency" }], ["waited", (row) => percent(row.waited), { number: true, key: "waited" }],
  ];
  return listView(main, "workers", asked, (again) => [
    search("worker, host or site", again("filter")),
    make("label", {}, make("input", { type: "checkbox", onchange: again("gone") }), " those that went"),
    keys(),
  ], (told, turn) => [table(columns(asked.gone), told.rows, {
    empty: asked.gone ? "none went" : "no workers are there", sort: { by: asked.sort, order: asked.order },
    onsort({ by, order }) {
      Object.assign(asked, { sort: by, order, offset: 0 });
      turn();
    },
  })]);
}

const keys = () => make("div", { className: "legend" }, ...Object.entries(ACTIVITIES).map(([name, [, words]]) =>
  make("span", {}, make("i", { className: name }), words)));

function slotsView(main) {
  const asked = { filter: "", offset: 0, limit: 60 };
  const pick = spanPicker(() => turn());
  const place = make("div"), pages = make("div");
  main.append(make("div", { className: "filters" }, search("worker or host", (event) => {
    Object.assign(asked, { filter: event.target.value, offset: 0 });
    turn();
  }), pick), panel("What each slot did, packet by packet", place, pages));
  const timeline = new Timeline(place);
  const turn = repeated(async () => {
    const told = await api("timeline", { ...asked, since: pick.value });
    timeline.draw(told, Math.max(10, Math.min(Number(pick.value), told.now)));
    fill(pages, pager(asked, told.total, turn));
  });
  return { summary: turn, redraw: turn, close: () => timeline.close() };
}

function serversTable(servers) {
  const most = Math.max(1, ...servers.map(({ rate }) => rate));
  return table([
    ["server", (row) => row.name, { wide: true }],
    ["rate", (row) => make("div", { className: "rate" }, make("i", { style: `width:${(100 * row.rate) / most}%` }), make("span", { textContent: `${bytes(row.rate)}/s` })), { wide: true }],
    ["latency", (row) => milliseconds(row.latency), { number: true }], ["waited", (row) => percent(row.waiting), { number: true }],
    ["read", (row) => bytes(row.bytes_read), { number: true }], ["requests", (row) => count(row.requests), { number: true }],
  ], servers, { empty: "nothing was read from files" });
}

function serversView(main) {
  const place = make("div");
  main.append(place);
  return {
    summary: (summary) => fill(place, serversTable(summary.servers)),
    close() {},
  };
}

// --- light and dark ----------------------------------------------------------------------------------------------------------

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.body.classList.toggle("vscode-dark", theme === "dark"); // by which board.js knows it
  document.body.classList.toggle("vscode-light", theme === "light");
  view?.redraw?.();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => localStorage.getItem("eventmill.theme") ?? (dark.matches ? "dark" : "light");
dark.addEventListener("change", () => setTheme(theme()));
$("theme").onclick = () => {
  localStorage.setItem("eventmill.theme", theme() === "dark" ? "light" : "dark");
  setTheme(theme());
};

setTheme(theme());
window.addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => !document.hidden && state.summary && view?.summary?.(state.summary));
route();
listen();
