"use strict";
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const NARROW = 560;
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: [["toImage"]], showTips: false };

  /* Names of the stylesheet, var(--name), become values of the scheme in force. */
  function coloured(value, style) {
    if (typeof value === "string") {
      return value.includes("var(") ? value.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim()) : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
    }
    return value;
  }

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
      this.isNarrow = this.narrow();
    }

    narrow() {
      return this.element.clientWidth < NARROW;
    }

    draw() {
      const { data, layout } = coloured(this.spec, getComputedStyle(root));
      for (const trace of data) trace.visible = !this.hidden.has(trace.name);
      this.isNarrow = this.narrow();
      if (this.isNarrow) for (const [path, value] of Object.entries(this.spec.narrow)) assign(layout, path, value);
      this.element.style.height = `${layout.height}px`;
      if (coarse.matches || !layout.dragmode) layout.dragmode = false;
      const config = { ...CONFIG, toImageButtonOptions: { format: "svg", filename: this.name } };
      return Plotly.react(this.element, data, layout, config);
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
        if (this.element.data) this.draw();
      };
      box.append(...buttons);
      show();
    }
  }

  const SHAPES = {
    "triangle-up": "M5 1 9.5 9h-9z",
    "triangle-down": "M5 9 .5 1h9z",
    "triangle-left": "M1 5 9 .5v9z",
    "triangle-right": "M9 5 1 .5v9z",
    "diamond-wide": "M0 5 5 2l5 3-5 3z",
    "diamond-tall": "M5 0l3 5-3 5-3-5z",
    diamond: "M5 .5 9.5 5 5 9.5.5 5z",
    "triangle-ne": "M1 1h8v8z",
    "triangle-sw": "M1 1v8h8z",
    star: "M5 .3 6.5 3.5 10 4 7.4 6.4 8.1 9.9 5 8.2 1.9 9.9 2.6 6.4 0 4 3.5 3.5z",
    circle: "M5 1a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
    line: "M0 4h10v2.4H0z",
    square: "M1 1h8v8H1z",
  };

  /* The key of a trace: its marker, its line, or a square of its colour. */
  function swatch(trace) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const shape = trace.mode === "lines" ? "line" : trace.marker.symbol ?? "square";
    svg.setAttribute("viewBox", "0 0 10 10");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", SHAPES[shape] ?? SHAPES.square);
    path.style.fill = (trace.marker ?? trace.line).color;
    svg.append(path);
    return svg;
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

  /* Show only the rows of a table that have all the words of a field. */
  function filtering(field) {
    const rows = [...document.getElementById(field.dataset.filter).tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
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
  Promise.all(plots.map((plot) => plot.draw())).then(() => root.setAttribute("data-drawn", "true"));
  dark.addEventListener("change", () => plots.forEach((plot) => plot.draw()));
  window.addEventListener("resize", () => {
    for (const plot of plots) if (plot.narrow() !== plot.isNarrow) plot.draw();
  });
})();
