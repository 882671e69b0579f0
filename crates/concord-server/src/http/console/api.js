// The public HTTP API, in the name of whoever's token this tab was given.

const BASE = "/api/v1";
const KEPT = "concord-token";

/// The token stays in this tab, until it is closed.
export const token = {
  get: () => sessionStorage.getItem(KEPT) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEPT, text) : sessionStorage.removeItem(KEPT)),
};

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `the node answered ${status}`);
    this.status = status;
    this.code = error?.code ?? "unknown";
    this.details = error?.details ?? {};
  }
}

/// A document as it was sent: what is larger than this language counts exactly keeps its digits, in browsers that can.
function parse(text) {
  const isExact = (number, source) => Number.isSafeInteger(number) || !/^-?\d+$/.test(source);
  return JSON.parse(text, (_, value, { source } = {}) =>
    typeof value !== "number" || source === undefined || isExact(value, source) ? value : JSON.rawJSON(source),
  );
}

/// Sends a request and gives the answer as it comes; refusals are thrown.
export async function send(method, path, { headers = {}, body, signal } = {}) {
  const shown = token.get();
  const answer = await fetch(path.startsWith("/metrics") ? path : BASE + path, {
    method,
    body,
    signal,
    cache: "no-store",
    credentials: "omit",
    headers: { ...headers, ...(shown && { authorization: `Bearer ${shown}` }) },
  });
  if (answer.ok) return answer;
  const text = await answer.text();
  let error;
  try {
    error = JSON.parse(text).error;
  } catch {
    // Not an answer of a node: a proxy's, perhaps.
  }
  throw new Refused(answer.status, error);
}

/// The data of an answer.
export async function get(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return parse(await (await send("GET", query ? `${path}?${query}` : path)).text()).data;
}

/// Sends a document; gives the data of the answer, if there is any.
export async function post(method, path, document) {
  const body = document === undefined ? undefined : JSON.stringify(document);
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const text = await (await send(method, path, { headers, body })).text();
  return text ? parse(text).data : undefined;
}

/// A name as a segment of a path. Browsers take `.` and `..` out of paths, however they are spelt.
export function segment(name) {
  if (name === "." || name === "..") throw new Refused(400, { code: "invalid_key", message: `a browser cannot ask for the key "${name}"` });
  return encodeURIComponent(name);
}

/// The events of a stream, until `signal` ends it.
export async function* events(path, parameters, signal) {
  const answer = await send("GET", `${path}?${new URLSearchParams(parameters)}`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const event = { name: "message", data: "" };
      for (const line of rest.slice(0, end).split("\n")) {
        const [, field, text] = /^(\w*): ?(.*)$/.exec(line) ?? [];
        if (field === "event") event.name = text;
        if (field === "data") event.data += text;
      }
      rest = rest.slice(end + 2);
      if (event.data) yield { name: event.name, data: parse(event.data) };
    }
  }
}
