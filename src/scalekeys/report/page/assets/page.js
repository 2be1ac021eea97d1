/* The page: figures with their legends, tables that sort and filter, and links that open what they point to. */

import { svg } from "./labels.js";
import { Chart, SHAPES } from "./plots.js";

const root = document.documentElement;
const NARROW = 560;

function assign(target, path, value) {
  const keys = path.split(".");
  const last = keys.pop();
  let inner = target;
  for (const key of keys) inner = inner[key] ??= {};
  inner[last] = value;
}

class Plot {
  constructor(script) {
    this.spec = JSON.parse(script.textContent);
    this.name = script.dataset.figure;
    this.element = document.getElementById(`figure-${this.name}`);
    this.hidden = new Set();
    new ResizeObserver(() => this.element.clientWidth !== this.chart?.width && this.draw()).observe(this.element);
  }

  draw() {
    const { data, layout } = structuredClone(this.spec);
    for (const trace of data) trace.visible = !this.hidden.has(trace.name);
    if (this.element.clientWidth < NARROW) {
      for (const [path, value] of Object.entries(this.spec.narrow)) assign(layout, path, value);
    }
    this.element.style.height = `${layout.height}px`;
    this.chart = new Chart(this.element, { data, layout });
  }

  legend() {
    const box = document.querySelector(`.legend[data-for="${this.name}"]`);
    if (!box) return;
    const names = [...new Set(this.spec.data.map((trace) => trace.name))];
    const buttons = names.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(swatch(this.spec.data.find((trace) => trace.name === name)), name);
      button.addEventListener("click", () => {
        if (!this.hidden.delete(name)) this.hidden.add(name);
        show();
      });
      button.addEventListener("dblclick", () => {
        const alone = this.hidden.size === names.length - 1 && !this.hidden.has(name);
        this.hidden = new Set(alone ? [] : names.filter((other) => other !== name));
        show();
      });
      return button;
    });
    const show = () => {
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(!this.hidden.has(names[i]))));
      if (this.chart) this.draw();
    };
    box.append(...buttons);
    show();
  }
}

/* The key of a trace: its marker, its line, or a square of its colour. */
function swatch(trace) {
  const shape = trace.mode === "lines" ? "line" : (trace.marker.symbol ?? "square");
  const path = svg("path", { d: SHAPES[shape] ?? SHAPES.square });
  path.style.fill = (trace.marker ?? trace.line).color;
  return svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, path);
}

/* A number of a table; an infinite scale is written inf. */
function value(text) {
  return text === "inf" ? Infinity : Number(text);
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", (event) => {
      const numeric = event.currentTarget.dataset.sort === "number";
      const down = head.getAttribute("aria-sort") === "ascending";
      const sign = down ? -1 : 1;
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [p, q] = [key(a), key(b)];
        if (p === q) return 0;
        if (p === "" || q === "") return (p === "") - (q === "");
        return sign * (numeric ? value(p) - value(q) : p.localeCompare(q, "en", { numeric: true }));
      });
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      table.tBodies[0].append(...rows);
    });
  });
}

/* Show only the rows of a table that have all the words of a field; a size may be typed with a letter x. */
function filtering(field) {
  const plain = (text) => text.toLowerCase().replaceAll("\u00d7", "x");
  const rows = [...document.getElementById(field.dataset.filter).tBodies[0].rows];
  const texts = rows.map((row) => plain(row.textContent));
  field.addEventListener("input", () => {
    const words = plain(field.value).split(/\s+/).filter(Boolean);
    rows.forEach((row, i) => (row.hidden = !words.every((word) => texts[i].includes(word))));
  });
}

/* What a link points to is opened. */
function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") target.open = true;
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("input[data-filter]").forEach(filtering);
window.addEventListener("hashchange", open);
open();
const plots = [...document.querySelectorAll("script[data-figure]")].map((script) => new Plot(script));
for (const plot of plots) plot.legend();
for (const plot of plots) plot.draw();
root.setAttribute("data-drawn", "true");
