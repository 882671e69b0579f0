// Elements are made by name, and text is only ever text: nothing that a key or a value says becomes markup.

/// An element with properties and attributes, and what is in it.
export function h(name, given = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...inside.flat().filter((part) => part !== null && part !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/// A line through numbers, the newest on the right, above zero.
export function chart(numbers, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const top = Math.max(...numbers, 1e-9);
  const step = 100 / Math.max(numbers.length - 1, 1);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", numbers.map((n, at) => `${(at * step).toFixed(1)},${(98 - (n / top) * 96).toFixed(1)}`).join(" "));
  svg.append(line);
  return svg;
}

/// A table with a head; `number` columns are set to the right.
export function table(columns, rows, empty) {
  if (rows.length === 0) return h("p", { class: "dim" }, empty);
  const cell = (name, content, column) => h(name, { class: column.number && "number" }, content);
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, columns.map((column) => cell("th", column.name, column)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((content, at) => cell("td", content, columns[at]))))),
  );
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? count : count.toFixed(1)} ${UNITS[unit]}`;
}

export function time(millis) {
  return millis === null || millis === undefined ? "" : new Date(millis).toLocaleString();
}

export function field(form, name) {
  return form.elements.namedItem(name).value.trim();
}

/// A form on one line: its parts, and what to do when it is sent.
export function line(submit, ...inside) {
  return h(
    "form",
    {
      class: "line",
      submit: (event) => {
        event.preventDefault();
        submit(event.currentTarget);
      },
    },
    ...inside,
  );
}
