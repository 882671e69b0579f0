// The frame: which page is shown, in whose name, and what went wrong.

import { get, token } from "./api.js";
import { h } from "./dom.js";
import * as access from "./access.js";
import * as cluster from "./cluster.js";
import * as keys from "./keys.js";
import * as tenants from "./tenants.js";
import * as watch from "./watch.js";

const PAGES = { cluster, keys, watch, tokens: access, tenants };
const place = document.getElementById("page");
const message = document.getElementById("message");

function say(text, isBad = false) {
  message.textContent = text;
  message.className = isBad ? "bad" : "";
}

/// Does what may be refused, and says why if it is.
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    const advice = error.details?.advice ? ` (${error.details.advice})` : "";
    const reason = error.code ? `${error.code}: ${error.message}${advice}` : `the node cannot be reached: ${error.message}`;
    say(error.status === 401 ? "This node asks for a token that is good: give one above." : reason, true);
    return undefined;
  }
}

let leave = new AbortController();
/// What the next page says first.
let news = "";

function go(page, text) {
  news = text;
  location.hash = page;
}

function show() {
  leave.abort();
  leave = new AbortController();
  const [name, ...rest] = location.hash.slice(1).split("/");
  const chosen = Object.hasOwn(PAGES, name) ? name : "cluster";
  document.getElementById("pages").replaceChildren(
    ...Object.keys(PAGES).map((page) =>
      h("a", { href: `#${page}`, "aria-current": page === chosen && "page" }, page[0].toUpperCase() + page.slice(1)),
    ),
  );
  say(news);
  news = "";
  const root = h("div");
  place.replaceChildren(root);
  const { signal } = leave;
  attempt(() => PAGES[chosen].show(root, { say, attempt, go, signal, rest: rest.join("/") }));
}

async function introduce() {
  const who = document.getElementById("who");
  who.textContent = "";
  await attempt(async () => {
    const me = await get("/whoami");
    who.textContent = me.principal;
  });
}

document.getElementById("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = document.getElementById("token");
  token.set(input.value.trim());
  input.value = "";
  introduce();
  show();
});
addEventListener("hashchange", show);
introduce();
show();
