// Tokens: who has one, making one, taking one back.

import { get, post, segment } from "./api.js";
import { field, h, line, table, time } from "./dom.js";

const COLUMNS = [{ name: "Name" }, { name: "Id" }, { name: "Roles" }, { name: "Good until" }, { name: "" }];

async function list(found, { say, attempt }) {
  const { tokens, next } = await get("/tokens");
  const revoke = (one) =>
    confirm(`Revoke ${one.name ?? one.id}? What uses it is refused at once.`) &&
    attempt(async () => {
      await post("DELETE", `/tokens/${segment(one.id)}`);
      await list(found, { say, attempt });
      say(`${one.name ?? one.id} is revoked.`);
    });
  const rows = tokens.map((one) => [
    one.name ?? "",
    h("code", {}, one.id),
    (one.roles ?? []).join(", "),
    one.expires_at ? time(one.expires_at) : "until it is revoked",
    h("button", { type: "button", click: () => revoke(one) }, "Revoke"),
  ]);
  found.replaceChildren(table(COLUMNS, rows, "There are no tokens."), next ? h("p", { class: "dim" }, "Only the first 1,000 are shown.") : "");
}

export async function show(root, context) {
  const made = h("div");
  const found = h("div");
  const create = (form) =>
    context.attempt(async () => {
      const [name, role, ttl] = [field(form, "name"), field(form, "role"), field(form, "ttl")];
      const wanted = { ...(name && { name }), ...(role && { roles: role.split(/[\s,]+/) }), ...(ttl && { ttl }) };
      const { token } = await post("POST", "/tokens", wanted);
      // Shown this once: nobody can ask for it again.
      made.replaceChildren(h("p", {}, "The token, which is not shown again: ", h("code", { id: "secret" }, token)));
      form.reset();
      await list(found, context);
    });
  root.append(
    line(
      create,
      h("label", { for: "name" }, "Name"),
      h("input", { id: "name", name: "name" }),
      h("label", { for: "role" }, "Roles"),
      h("input", { id: "role", name: "role", placeholder: "viewer" }),
      h("label", { for: "token-ttl" }, "Good for"),
      h("input", { id: "token-ttl", name: "ttl", placeholder: "until revoked", size: 12 }),
      h("button", {}, "Create"),
    ),
    made,
    found,
  );
  await list(found, context);
}
