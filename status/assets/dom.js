// Small things that all parts of the status page use: numbers in words, requests, tables.
// `make` is that of board.js; texts are set as text everywhere, so that nothing in a name or a message is taken for HTML.
/* global make */

export const ACTIVITIES = {
  running: ["r", "computing"], reading: ["w", "waiting for data"], opening: ["o", "opening files"], compiling: ["c", "compiling"],
  loading: ["l", "loading code"], committing: ["m", "committing"], idle: ["i", "idle"], leaving: ["e", "leaving"], down: ["d", "down"],
};
const BY_LETTER = Object.fromEntries(Object.entries(ACTIVITIES).map(([name, [letter]]) => [letter, name]));

/** The colour of what a slot does: the same in all pictures; `page.css` has them for light and dark. */
export const colorOf = (activity) => getComputedStyle(document.documentElement).getPropertyValue(`--${activity}`).trim();

const UNITS = ["", "k", "M", "G", "T", "P"];

/** A number in at most four characters and a unit: 12, 3.4k, 56M. */
export function count(number) {
  if (number === null || number === undefined) return "–";
  let power = 0;
  while (Math.abs(number) >= 999.5 && power < UNITS.length - 1) {
    number /= 1000;
    power++;
  }
  const digits = Math.abs(number) >= 99.5 || Number.isInteger(number) ? 0 : Math.abs(number) >= 9.95 ? 1 : power ? 2 : 1;
  return `${number.toFixed(digits)}${power ? ` ${UNITS[power]}` : ""}`;
}

export const exact = (number) => (number === null || number === undefined ? "–" : number.toLocaleString("en"));
export const bytes = (number) => (number === null || number === undefined ? "–" : `${count(number)}${number < 1000 ? " " : ""}B`);
export const percent = (part) => (part === null || part === undefined ? "–" : `${Math.floor(100 * part)} %`);
export const milliseconds = (seconds) => (seconds === null || seconds === undefined ? "–" : `${(1000 * seconds).toPrecision(3)} ms`);

/** Seconds as people say them: 4.2 s, 3:07 min, 2:05 h, 3 d. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds), two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))} h`;
  return `${Math.floor(whole / 86400)} d`;
}

/** A moment, with its day where that is not today. */
export function clock(iso) {
  const time = new Date(iso), today = new Date().toDateString() === time.toDateString();
  return today ? time.toLocaleTimeString("en-GB") : `${time.toLocaleDateString("en-CA")} ${time.toLocaleTimeString("en-GB").slice(0, 5)}`;
}

// --- requests ----------------------------------------------------------------------------------------------------------

/** Another version of eventmill serves this page by now: load that. Once, so that a proxy's cache cannot make it turn for ever. */
export function checkVersion(version) {
  const key = "eventmill.version", first = document.documentElement.dataset.version;
  if (!version) return;
  if (!first) document.documentElement.dataset.version = version;
  else if (first !== version && sessionStorage.getItem(key) !== version) {
    sessionStorage.setItem(key, version);
    location.reload();
  }
}

export class Problem extends Error {}

/** What the server has to say: JSON, null when there is nothing new. A `Problem` says in words why not. */
export async function api(path, parameters = {}, options = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) query.append(name, one);
  }
  const response = await fetch(`api/${path}${query.size ? `?${query}` : ""}`, options);
  if (response.status === 204) return null;
  const body = response.headers.get("content-type")?.includes("json") ? await response.json() : { error: await response.text() };
  if (!response.ok) throw new Problem(body.error || response.statusText);
  checkVersion(body.version);
  return body;
}

export const post = (path) => api(path, {}, { method: "POST", headers: { "X-Eventmill": "1" } });

// --- elements ------------------------------------------------------------------------------------------------------------

/** Put children into an element only if they are others than those that it has: what is selected or hovered over stays. */
export function fill(element, ...children) {
  const made = make("div", {}, ...children);
  if (made.innerHTML !== element.innerHTML || made.querySelector("button, input, select")) element.replaceChildren(...made.childNodes);
}

/** A table: `columns` are `[heading, cell of a row, options]`; a cell is text or an element. */
export function table(columns, rows, { empty = "nothing", sort = null, onsort = null } = {}) {
  const heads = columns.map(([heading, , { number, key } = {}]) => {
    const arrow = sort && key === sort.by ? (sort.order === "asc" ? " ▲" : " ▼") : "";
    const head = make("th", { className: number ? "number" : "", textContent: heading + arrow });
    if (onsort && key) {
      head.classList.add("sortable");
      head.onclick = () => onsort({ by: key, order: sort && sort.by === key && sort.order === "desc" ? "asc" : "desc" });
    }
    return head;
  });
  const lines = rows.map((row) => make("tr", {}, ...columns.map(([, cell, { number, wide } = {}]) =>
    make("td", { className: [number ? "number" : "", wide ? "wide" : ""].join(" ").trim() }, cell(row)))));
  if (!rows.length) lines.push(make("tr", {}, make("td", { className: "empty", colSpan: columns.length, textContent: empty })));
  return make("div", { className: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines)));
}

/** What each slot of a worker is at: a cell for each. */
export function cells(letters) {
  const counts = {};
  for (const letter of letters) counts[letter] = (counts[letter] ?? 0) + 1;
  const title = Object.entries(counts).map(([letter, number]) => `${number} ${ACTIVITIES[BY_LETTER[letter]]?.[1] ?? letter}`).join(", ");
  return make("span", { className: "cells", title }, ...[...letters].slice(0, 128).map((letter) =>
    make("i", { className: BY_LETTER[letter] ?? "idle" })));
}

export const legend = (names, colors, words = (name) => name) => make("div", { className: "legend" }, ...names.map((name, at) =>
  make("span", {}, make("i", { style: `background:${colors[at]}` }), words(name))));

export const panel = (title, ...children) => make("section", { className: "panel" }, make("h2", { textContent: title }), ...children);

/** Run something now and again whenever it is asked for; never twice at a time, and not while the page is hidden. */
export function repeated(run) {
  let busy = false, again = false;
  const turn = async () => {
    if (busy || document.hidden) {
      again = busy;
      return;
    }
    busy = true;
    try {
      await run();
    } finally {
      busy = false;
      if (again) {
        again = false;
        turn();
      }
    }
  };
  turn();
  return turn;
}
