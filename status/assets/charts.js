// Pictures of the past: what there was of each kind, stacked; and what each slot did when.
/* global COLORS, make, uPlot */

import { ACTIVITIES, colorOf, duration, exact, legend } from "./dom.js";

export const DONE = ["running", "reading", "opening", "compiling"];

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** An area for each kind, one on top of the other. It is drawn again with other values, and follows the width of its place. */
export class Stacked {
  constructor(element, { height = 190, words = (name) => name || "elsewhere", color = null } = {}) {
    Object.assign(this, { element, height, words, color });
    this.place = make("div", { className: "chart" });
    this.keys = make("div");
    element.append(this.place, this.keys);
    this.plot = null;
    this.shape = "";
    this.observer = new ResizeObserver(() => this.plot?.setSize({ width: this.#width(), height }));
    this.observer.observe(this.place);
  }

  #width() {
    return Math.max(120, Math.floor(this.place.clientWidth));
  }

  /** `times` in seconds since 1970, `kinds` values of each at these times. */
  draw(times, kinds) {
    const named = Object.entries(kinds);
    const colors = named.map(([name], at) => (this.color ? this.color(name) : COLORS[at % COLORS.length]));
    const sums = [];
    named.forEach(([, values], at) => sums.push(values.map((value, nth) => value + (at ? sums[at - 1][nth] : 0))));
    const data = [times, ...sums.reverse()]; // the tallest first, the others over it
    const shape = JSON.stringify([named.map(([name]) => name), colors, ink("ink")]);
    if (shape !== this.shape) {
      this.plot?.destroy();
      this.plot = new uPlot(this.#options(named, colors), data, this.place);
      this.shape = shape;
      this.keys.replaceChildren(legend(named.map(([name]) => name), colors, this.words));
    } else this.plot.setData(data);
  }

  #options(named, colors) {
    const axis = { stroke: ink("dim"), grid: { stroke: ink("grid"), width: 1 }, ticks: { stroke: ink("grid"), size: 4 }, font: "11px system-ui" };
    return {
      width: this.#width(), height: this.height, legend: { show: false }, padding: [8, 8, 0, 0],
      cursor: { points: { show: false }, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.08)] } },
      axes: [{ ...axis, space: 70, size: 26, values: (_, splits) => splits.map((time) => timeOfDay(time, splits)) }, { ...axis, size: 54 }],
      series: [{}, ...named.map(([name], at) => ({ label: name, fill: colors[at], stroke: colors[at], width: 1, points: { show: false } })).reverse()],
    };
  }

  close() {
    this.observer.disconnect();
    this.plot?.destroy();
  }
}

function timeOfDay(time, splits) {
  const seconds = splits.length > 1 && splits[1] - splits[0] < 60;
  return new Date(1000 * time).toLocaleTimeString("en-GB").slice(0, seconds ? 8 : 5);
}

const ROW = 16, TOP = 20;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200];

/** What slots did when: a row for each, a bar for each packet with the parts of its time in their colours. */
export class Timeline {
  constructor(element) {
    this.canvas = make("canvas", { className: "timeline" });
    this.tip = make("div", { className: "tip", hidden: true });
    element.append(make("div", { className: "tipped" }, this.canvas, this.tip),
      legend(DONE, DONE.map(colorOf), (name) => ACTIVITIES[name][1]));
    this.told = null;
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(element);
    this.canvas.onmousemove = (event) => this.#hover(event);
    this.canvas.onmouseleave = () => (this.tip.hidden = true);
  }

  /** `told` is what `api/timeline` has; `span` are the seconds that are shown of it. */
  draw(told, span) {
    Object.assign(this, { told, span });
    this.#draw();
  }

  #x(seconds) {
    return this.left + ((seconds - (this.told.now - this.span)) / this.span) * (this.width - this.left - 8);
  }

  #draw() {
    if (!this.told) return;
    const { canvas } = this, ratio = devicePixelRatio || 1;
    this.width = Math.max(300, canvas.parentElement.clientWidth);
    this.left = this.width < 600 ? 92 : 150;
    const height = TOP + ROW * Math.max(1, this.told.rows.length) + 6;
    canvas.width = this.width * ratio;
    canvas.height = height * ratio;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "11px system-ui";
    this.#grid(context, height);
    const colors = Object.fromEntries(DONE.map((name) => [name, colorOf(name)])), first = this.left;
    this.told.rows.forEach((row, at) => {
      const y = TOP + at * ROW;
      context.fillStyle = ink("ink");
      context.fillText(`${row.worker}:${row.slot}`.slice(-24), 0, y + 11, first - 14);
      context.fillStyle = colorOf(row.doing);
      context.fillRect(first - 10, y + 3, 6, ROW - 6);
      if (row.since !== null) { // the packet in hand: nobody knows yet what all of its time goes into
        const from = Math.max(first, this.#x(row.since));
        context.globalAlpha = 0.45;
        context.fillRect(from, y + 2, Math.max(0.3, this.#x(this.told.now) - from), ROW - 4);
        context.globalAlpha = 1;
      }
      for (const [begin, end, parts] of row.packets) {
        let from = this.#x(begin);
        const scale = (this.#x(end) - from) / Math.max(1e-9, end - begin);
        for (const name of ["opening", "compiling", "reading", "running"]) {
          const length = (parts[name] ?? 0) * scale, left = Math.max(first, from);
          if (from + length > first) {
            context.fillStyle = colors[name];
            context.fillRect(left, y + 2, Math.max(0.3, from + length - left - (name === "running" && length > 3 ? 0.7 : 0)), ROW - 4);
          }
          from += length;
        }
      }
    });
  }

  #grid(context, height) {
    const step = STEPS.find((it) => this.span / it <= (this.width - this.left) / 110) ?? this.span;
    for (let back = 0; back <= this.span; back += step) {
      const x = this.#x(this.told.now - back);
      context.fillStyle = ink("grid");
      context.fillRect(x, TOP - 4, 1, height);
      context.fillStyle = ink("dim");
      context.textAlign = back ? "center" : "right";
      context.fillText(back ? `−${duration(back)}` : "now", x, 11);
    }
    context.textAlign = "left";
  }

  #hover(event) {
    const row = this.told?.rows[Math.floor((event.offsetY - TOP) / ROW)];
    const packet = row?.packets.find(([begin, end]) => this.#x(begin) <= event.offsetX && event.offsetX <= this.#x(end) + 1);
    this.tip.hidden = !packet;
    if (!packet) return;
    const [begin, end, parts, query, entries, server] = packet;
    const spent = DONE.filter((name) => parts[name] > 0.0005).map((name) => `${ACTIVITIES[name][1]} ${duration(parts[name])}`);
    this.tip.textContent = `${row.worker}, slot ${row.slot}\n${query}: ${exact(entries)} entries in ${duration(end - begin)}\n${spent.join(", ")}${server ? `\nfrom ${server}` : ""}`;
    this.tip.style.left = `${Math.min(event.offsetX + 12, this.width - 240)}px`;
    this.tip.style.top = `${event.offsetY + 14}px`;
  }

  close() {
    this.observer.disconnect();
  }
}

/** Bars of equal steps, as how many workers had how many packets. */
export function bars(counts, edges, words) {
  const most = Math.max(1, ...counts);
  return make("div", { className: "bars", role: "img", "aria-label": words }, ...counts.map((number, at) =>
    make("div", {
      title: `${rounded(edges[at])} to ${rounded(edges[at + 1])}: ${exact(number)}`,
      style: `height:${Math.max(number ? 2 : 0, (100 * number) / most)}%`,
    })));
}

const rounded = (number) => Number(number.toPrecision(3)).toLocaleString("en");
