// Keys by prefix, and one of them to look at and change. A value is shown and sent as text, never as a number of this
// language, which would round what is larger than 2^53. A change names the revision that was looked at.

import { get, segment, send } from "./api.js";
import { bytes, field, h, line, table } from "./dom.js";

const PAGE = 100;
const SHOWN_BYTES = 1 << 20;

async function list(found, prefix, cursor, context) {
  const parameters = { keys_only: "true", limit: PAGE, ...(prefix && { prefix }), ...(cursor && { cursor }) };
  const page = await get("/kv", parameters);
  const rows = page.items.map((item) => {
    const name = typeof item === "string" ? item : item.key;
    // Keys that are no text have no path.
    if (name === undefined) return [h("span", { class: "key dim" }, `${item.key_base64} (Base64)`)];
    return [h("button", { class: "row key", type: "button", click: () => (location.hash = `keys/${encodeURIComponent(name)}`) }, name)];
  });
  const more = page.next_cursor && h("button", { type: "button", click: () => context.attempt(() => list(found, prefix, page.next_cursor, context)) }, "Next page");
  found.replaceChildren(
    h("p", { class: "dim" }, `${page.items.length} keys at revision ${page.revision.toLocaleString()}`),
    table([{ name: "Key" }], rows, "No keys here."),
    more || "",
  );
}

function kind(contentType) {
  if (contentType.startsWith("text/plain")) return "text";
  return contentType.startsWith("application/json") ? "document" : "binary";
}

async function read(name) {
  const answer = await send("GET", `/kv/${segment(name)}`, { headers: { accept: "application/octet-stream" } });
  const raw = await answer.arrayBuffer();
  return { etag: answer.headers.get("etag"), format: kind(answer.headers.get("content-type") ?? ""), raw };
}

function pretty(text) {
  // Shown with line breaks if that loses nothing.
  const parsed = JSON.parse(text);
  return JSON.stringify(parsed) === text ? JSON.stringify(parsed, null, 2) : text;
}

/// Stores what was written, if the key is still as it was seen: `etag`, or absent.
async function store(name, format, text, ttl, etag) {
  const condition = etag ? { "if-match": etag } : { "if-none-match": "*" };
  if (format === "text") {
    const query = ttl ? `?ttl=${encodeURIComponent(ttl)}` : "";
    await send("PUT", `/kv/${segment(name)}${query}`, { headers: { ...condition, "content-type": "text/plain" }, body: text });
    return;
  }
  JSON.parse(text);
  const life = ttl ? `,"ttl":${JSON.stringify(ttl)}` : "";
  // The text goes as it is, so that every digit of it arrives.
  const body = `{"value":${text},"format":"document"${life}}`;
  await send("PUT", `/kv/${segment(name)}`, { headers: { ...condition, "content-type": "application/json" }, body });
}

function editor(name, seen, { say, attempt, reload }) {
  const format = seen?.format ?? "text";
  const formats = ["text", "document"].map((one) => h("option", { value: one, selected: one === format }, one));
  const area = h("textarea", { name: "value", "aria-label": "Value", spellcheck: "false" });
  if (seen) area.value = format === "document" ? pretty(new TextDecoder().decode(seen.raw)) : new TextDecoder().decode(seen.raw);
  const save = (form) =>
    attempt(async () => {
      const key = seen ? name : field(form, "key");
      try {
        await store(key, form.elements.format.value, area.value, field(form, "ttl"), seen?.etag);
      } catch (error) {
        if (error instanceof SyntaxError) return say(`This is no JSON: ${error.message}`, true);
        if (error.code === "condition_failed") {
          return say(seen ? "Somebody has changed this key meanwhile: load it again to see how." : `There is a key ${key} already.`, true);
        }
        throw error;
      }
      say(`${key} is stored.`);
      await reload(key);
    });
  return line(
    save,
    seen ? null : [h("label", { for: "new-key" }, "Key"), h("input", { id: "new-key", name: "key", required: true })],
    h("label", { for: "format" }, "Format"),
    h("select", { id: "format", name: "format" }, formats),
    h("label", { for: "ttl" }, "Lives for"),
    h("input", { id: "ttl", name: "ttl", placeholder: "ever, or 30s, 1h", size: 14 }),
    area,
    h("button", {}, seen ? "Store" : "Create"),
  );
}

async function open(shown, name, context) {
  const [record, seen] = await Promise.all([get(`/kv/${segment(name)}`, { with_ttl: "true" }), read(name)]);
  const facts = [
    ["Format", seen.format],
    ["Size", bytes(seen.raw.byteLength)],
    ["Revision", record.mod_revision],
    ["Written", `${record.version} times since revision ${record.create_revision}`],
    ["Lives for", record.ttl === null ? "ever" : `${record.ttl} s more`],
  ];
  const remove = () =>
    confirm(`Delete ${name}?`) &&
    context.attempt(async () => {
      await send("DELETE", `/kv/${segment(name)}`, { headers: { "if-match": seen.etag } });
      context.go("keys", `${name} is deleted.`);
    });
  const isShown = seen.format !== "binary" && seen.raw.byteLength <= SHOWN_BYTES;
  shown.replaceChildren(
    h("h2", { class: "key" }, name),
    table([{ name: "" }, { name: "" }], facts.map(([what, value]) => [what, String(value)]), ""),
    isShown ? editor(name, seen, context) : h("p", { class: "dim" }, "The value is not shown: it is binary, or larger than 1 MiB."),
    h("button", { type: "button", click: remove }, "Delete"),
    " ",
    h("button", { type: "button", click: () => context.attempt(() => history(shown, name)) }, "History"),
  );
}

async function history(shown, name) {
  const past = await get(`/kv/${segment(name)}/history`, { limit: 50 });
  const rows = past.versions.map((version) => [
    version.mod_revision.toLocaleString(),
    version.event,
    h("code", {}, version.value === undefined ? "" : JSON.stringify(version.value).slice(0, 200)),
  ]);
  shown.append(h("h2", {}, "History"), table([{ name: "Revision", number: true }, { name: "Event" }, { name: "Value" }], rows, "None is kept."));
}

export async function show(root, context) {
  const found = h("div");
  const shown = h("div");
  const name = decodeURIComponent(context.rest);
  const prefix = sessionStorage.getItem("concord-prefix") ?? "";
  const search = line(
    (form) => {
      sessionStorage.setItem("concord-prefix", field(form, "prefix"));
      context.attempt(() => list(found, field(form, "prefix"), null, context));
    },
    h("label", { for: "prefix" }, "Keys that begin with"),
    h("input", { id: "prefix", name: "prefix", value: prefix }),
    h("button", {}, "List"),
    h("button", { type: "button", click: () => (location.hash = "keys") }, "New key"),
  );
  root.append(search, h("div", { class: "split" }, found, shown));
  const reload = async (key) => {
    await list(found, prefix, null, context);
    if (key !== name) context.go(`keys/${encodeURIComponent(key)}`, `${key} is stored.`);
    else await open(shown, key, { ...context, reload });
  };
  await list(found, prefix, null, context);
  if (name) await open(shown, name, { ...context, reload });
  else shown.append(h("h2", {}, "New key"), editor("", null, { ...context, reload }));
}

