// What happens, as it happens. Only the newest events are kept.

import { events } from "./api.js";
import { field, h, line, table } from "./dom.js";

const KEPT = 200;

const COLUMNS = [{ name: "Revision", number: true }, { name: "Event" }, { name: "Key" }, { name: "Value" }];

function row(event) {
  const value = event.value === undefined ? "" : JSON.stringify(event.value);
  return [
    event.mod_revision.toLocaleString(),
    event.event,
    h("span", { class: "key" }, event.key ?? `${event.key_base64} (Base64)`),
    h("code", {}, value.length > 300 ? `${value.slice(0, 300)}…` : value),
  ];
}

async function follow(list, parameters, { say, signal }) {
  const kept = [];
  for await (const { name, data } of events("/watch", parameters, signal)) {
    if (name === "progress") {
      say(`Everything up to revision ${data.revision.toLocaleString()} is shown.`);
      continue;
    }
    if (name === "error") return say(`The watch has ended: ${data.error?.message ?? data.message ?? "no reason is given"}`, true);
    kept.unshift(...data.events.map(row).reverse());
    kept.length = Math.min(kept.length, KEPT);
    list.replaceChildren(table(COLUMNS, kept, ""));
  }
  return say("The watch has ended: the node closed it.", true);
}

export async function show(root, context) {
  const list = h("div");
  let stop = new AbortController();
  context.signal.addEventListener("abort", () => stop.abort());
  const begin = (form) => {
    stop.abort();
    stop = new AbortController();
    list.replaceChildren(h("p", { class: "dim" }, "Nothing has happened yet."));
    const [prefix, from] = [field(form, "prefix"), field(form, "from")];
    const parameters = { ...(prefix && { prefix }), ...(from && { from_revision: from }) };
    context.attempt(() => follow(list, parameters, { ...context, signal: stop.signal }));
  };
  root.append(
    line(
      begin,
      h("label", { for: "watched" }, "Keys that begin with"),
      h("input", { id: "watched", name: "prefix" }),
      h("label", { for: "from" }, "from revision"),
      h("input", { id: "from", name: "from", inputmode: "numeric", size: 10, placeholder: "now" }),
      h("button", {}, "Watch"),
      h("button", { type: "button", click: () => (stop.abort(), context.say("Stopped.")) }, "Stop"),
    ),
    list,
  );
}
