// Tenants: what they use of what they may use, making one, removing one.

import { get, post, segment } from "./api.js";
import { bytes, field, h, line, table } from "./dom.js";

const COLUMNS = [{ name: "Id" }, { name: "Name" }, { name: "Keys" }, { name: "Storage" }, { name: "Requests a second", number: true }, { name: "" }];

function used(amount, quota, show) {
  if (quota === "unlimited") return `${show(amount)} of unlimited`;
  const bar = h("meter", { min: 0, max: Math.max(quota, 1), high: quota * 0.9, value: amount });
  return [`${show(amount)} of ${show(quota)} `, bar];
}

async function list(found, context) {
  const { tenants, next } = await get("/tenants");
  const remove = (one) =>
    confirm(`Remove the tenant ${one.id}? Its keys stay.`) &&
    context.attempt(async () => {
      await post("DELETE", `/tenants/${segment(one.id)}`);
      await list(found, context);
      context.say(`${one.id} is removed.`);
    });
  const rows = tenants.map((one) => [
    h("code", {}, one.id),
    one.name ?? "",
    used(one.usage.keys, one.quota.max_keys, (n) => n.toLocaleString()),
    used(one.usage.storage_bytes, one.quota.max_storage_bytes, bytes),
    String(one.quota.max_ops_per_sec),
    h("button", { type: "button", click: () => remove(one) }, "Remove"),
  ]);
  found.replaceChildren(table(COLUMNS, rows, "There are no tenants."), next ? h("p", { class: "dim" }, "Only the first 1,000 are shown.") : "");
}

/// What was written in a field of a quota, as the API takes it. What is no number the node refuses by name.
function quota(text) {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}

export async function show(root, context) {
  const found = h("div");
  const create = (form) =>
    context.attempt(async () => {
      const wanted = { id: field(form, "id") };
      for (const name of ["max_keys", "max_storage_bytes", "max_ops_per_sec"]) {
        if (field(form, name)) wanted[name] = quota(field(form, name));
      }
      await post("POST", "/tenants", wanted);
      context.say(`${wanted.id} is a tenant now; tokens of the role tenant_${wanted.id} work for it.`);
      form.reset();
      await list(found, context);
    });
  const input = (name, label) => [h("label", { for: name }, label), h("input", { id: name, name, size: 10, required: name === "id" })];
  root.append(
    line(
      create,
      input("id", "Id"),
      input("max_keys", "keys"),
      input("max_storage_bytes", "bytes"),
      input("max_ops_per_sec", "requests/s"),
      h("button", {}, "Create"),
    ),
    found,
  );
  await list(found, context);
}
