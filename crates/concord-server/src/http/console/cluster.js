// How the cluster is, as the node that serves this page sees it, and what that node does.

import { get, send } from "./api.js";
import { bytes, chart, h, table, time } from "./dom.js";

const EVERY_MS = 2_000;
const KEPT = 90;

/// The sums of metrics by name, over their labels.
export function sums(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, value] = /^([a-z_]+)(?:\{.*\})? ([-+.eE0-9]+)/.exec(line) ?? [];
    if (name) found.set(name, (found.get(name) ?? 0) + Number(value));
  }
  return found;
}

const FIGURES = [
  { name: "Writes/s", of: rate("concord_write_seconds_count"), show: (n) => n.toFixed(n < 10 ? 1 : 0) },
  { name: "Reads/s", of: rate("concord_reads_total"), show: (n) => n.toFixed(n < 10 ? 1 : 0) },
  { name: "A write takes, on average", of: mean("concord_write_seconds"), show: milliseconds },
  { name: "A log sync takes, on average", of: mean("concord_log_sync_seconds"), show: milliseconds },
  { name: "Keys", of: level("concord_keys"), show: (n) => n.toLocaleString() },
  { name: "Values as stored", of: level("concord_stored_bytes"), show: bytes },
  { name: "Watches", of: level("concord_watches"), show: (n) => n.toLocaleString() },
  { name: "Memory", of: level("concord_memory_resident_bytes"), show: bytes },
];

function milliseconds(seconds) {
  return `${(seconds * 1e3).toFixed(2)} ms`;
}

function difference(now, before, name) {
  // A node that was started again counts from nothing.
  return Math.max(0, (now.sums.get(name) ?? 0) - (before.sums.get(name) ?? 0));
}

function rate(name) {
  return (now, before) => (difference(now, before, name) * 1e3) / (now.at - before.at);
}

function mean(name) {
  return (now, before) => difference(now, before, `${name}_sum`) / Math.max(1, difference(now, before, `${name}_count`));
}

function level(name) {
  return (now) => now.sums.get(name) ?? 0;
}

function health(status) {
  const shown = status.ready ? h("b", { class: "good" }, "ready") : h("b", { class: "bad" }, status.reason ?? "not ready");
  const facts = [
    ["Health", shown],
    ["This node", h("b", {}, String(status.node_id)), ` ${status.role}`],
    ["Leader", h("b", {}, status.leader === null ? "none" : String(status.leader)), ` term ${status.term}`],
    ["Revision", h("b", {}, status.revision.toLocaleString()), ` compacted up to ${status.compact_revision.toLocaleString()}`],
    ["Log", h("b", {}, status.log.applied.toLocaleString()), ` applied of ${status.log.last.toLocaleString()}`],
    ["Version", h("b", {}, status.version), ` cluster time ${time(status.now)}`],
  ];
  return h("div", { class: "tiles" }, facts.map(([name, ...inside]) => h("div", { class: "tile" }, h("span", { class: "dim" }, name), inside)));
}

function members(list) {
  const columns = [{ name: "Node" }, { name: "Address" }, { name: "Role" }, { name: "Entries behind", number: true }, { name: "Silent for", number: true }];
  const rows = list.map((member) => [
    String(member.node_id),
    member.address || "alone",
    member.leader ? "leader" : member.voter ? "voter" : "learner",
    member.lag_entries === null ? "" : member.lag_entries.toLocaleString(),
    member.silent_ms === null ? "" : `${member.silent_ms} ms`,
  ]);
  return table(columns, rows, "This node is no member of a cluster.");
}

function warnings(list) {
  return list.map((warning) => h("p", { class: "bad" }, typeof warning === "string" ? warning : JSON.stringify(warning)));
}

function figures(samples) {
  if (samples.length < 2) return [];
  const tile = ({ name, of, show }) => {
    const numbers = samples.slice(1).map((now, at) => of(now, samples[at]));
    const newest = show(numbers[numbers.length - 1]);
    return h("div", { class: "tile" }, h("span", { class: "dim" }, name), h("b", {}, newest), chart(numbers, `${name}: ${newest}`));
  };
  return FIGURES.map(tile);
}

export async function show(root, { say, attempt, signal }) {
  const state = h("div");
  const charts = h("div", { class: "tiles" });
  root.append(state, h("h2", {}, "This node, the last three minutes"), charts);
  const samples = [];
  while (!signal.aborted) {
    const seen = await attempt(async () => {
      const status = await get("/status");
      state.replaceChildren(...warnings(status.warnings), health(status), h("h2", {}, "Members"), members(status.members));
      const text = await (await send("GET", "/metrics", { signal })).text();
      samples.push({ at: performance.now(), sums: sums(text) });
      if (samples.length > KEPT) samples.shift();
      charts.replaceChildren(...figures(samples));
      return true;
    });
    if (seen) say("");
    await new Promise((done) => {
      const timer = setTimeout(done, EVERY_MS);
      signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
    });
  }
}
