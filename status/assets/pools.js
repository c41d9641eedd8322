// Pools: how many workers are wanted, how far they are, and why they are no further.
/* global make */

import { api, duration, exact, fill, panel, repeated, table } from "./dom.js";

const BAD = new Set(["failed", "lost", "held"]);

export function poolsView(main, _number, state) {
  const list = make("div");
  main.append(list);
  const age = (since) => duration(Math.max(0, (Date.parse(state.summary?.time ?? since) - Date.parse(since)) / 1000));
  const stage = (name, words) => make("span", { className: BAD.has(name) ? "state failed" : "state", textContent: words });
  const columns = [
    ["job", (row) => row.job], ["stage", (row) => stage(row.stage, row.stage)], ["for", (row) => age(row.since), { number: true }],
    ["host", (row) => row.host], ["worker", (row) => row.worker], ["reason", (row) => row.reason.split("\n")[0], { wide: true }],
    ["start took", (row) => (row.worker ? duration(row.took) : ""), { number: true }],
  ];
  const turn = repeated(async () => {
    const { pools, wishes } = await api("pools");
    const wished = wishes.map((wish) => make("p", { className: wish.met ? "wish" : "wish late", textContent: wish.words }));
    fill(list, ...wished, ...(pools.length ? pools.map((pool) => poolOf(pool, wishes.length > 0)) : [make("p", { className: "empty", textContent: "no launcher has pools here: eventmill master --pools FILE" })]));
  });
  const follows = (pool, wished) => (wished && !pool.by_hand ? ", as the work asks for" : "");
  const poolOf = (pool, wished) => panel(pool.pool,
    make("p", { textContent: `${exact(pool.wanted)} wanted of ${exact(pool.most)} at most, in ${pool.system}, for ${pool.owner || "everybody"}${pool.price ? `, ${pool.price} an hour each` : ""}${follows(pool, wished)}` }),
    make("p", {}, ...Object.entries(pool.stages).flatMap(([name, count]) => [stage(name, `${exact(count)} ${name}`), " "])),
    pool.trouble ? make("p", { className: "state failed", textContent: pool.trouble }) : null,
    table(columns, pool.launches, { empty: "no workers" }));
  return { summary: turn, close() {} };
}
