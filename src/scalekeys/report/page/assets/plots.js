/* Figures as data, drawn as inline SVG: lines, marks and bars over axes, and a box that says what is at a point.

   The vocabulary is the part of plotly's that the reports use. Colours are names of the stylesheet, so that a figure
   follows the scheme without being drawn again. */

import { LABEL, TITLE, label, pieces, svg, widthOf } from "./labels.js";
import { Axis } from "./axes.js";

const NEAR = 24; /* pixels from the pointer to a mark that it is at */
const DASHES = { dot: "2 3", dash: "6 4" };

export const SHAPES = {
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

/* A figure, drawn into an element as wide as it. */
export class Chart {
  constructor(element, { data, layout }) {
    this.layout = layout;
    this.data = data.filter((trace) => trace.visible !== false);
    this.width = element.clientWidth;
    this.height = layout.height;
    this.points = []; /* of which something is said: where they stand, and what */
    this.axes = {};
    const names = Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name));
    for (const name of names) {
      const id = name.replace("axis", "");
      const own = data.filter((trace) => (trace[`${id[0]}axis`] ?? id[0]) === id);
      this.axes[id] = new Axis(id, layout[name], own, layout.barmode);
    }
    this.frame();
    this.root = svg("svg", {
      class: "chart",
      width: this.width,
      height: this.height,
      viewBox: `0 0 ${this.width} ${this.height}`,
      "aria-hidden": "true",
    });
    for (const axis of Object.values(this.axes)) this.drawAxis(axis);
    this.drawShapes("below");
    for (const trace of this.data) this.drawTrace(trace);
    this.drawShapes("above");
    for (const note of layout.annotations ?? []) this.annotate(note);
    element.replaceChildren(this.root);
    this.listen(element);
  }

  /* Leave room for the labels, and give every axis its pixels. */
  frame() {
    const { l, r, t, b } = this.layout.margin;
    let left = l;
    for (const axis of Object.values(this.axes)) {
      if (axis.letter !== "y") continue;
      const title = axis.spec.title ? TITLE + 10 : 0;
      const widest = Math.max(0, ...axis.ticks().map(({ text }) => widthOf(text, LABEL)));
      left = Math.max(left, Math.ceil(widest) + 8 + title);
    }
    this.box = { left, top: t, width: this.width - left - r, height: this.height - t - b };
    for (const axis of Object.values(this.axes)) {
      if (axis.letter === "x") axis.place(left, this.box.width);
      else axis.place(t, this.box.height);
    }
  }

  drawAxis(axis) {
    const other = this.axes[axis.spec.anchor ?? (axis.letter === "x" ? "y" : "x")];
    const isX = axis.letter === "x";
    const edge = isX && axis.spec.side === "top" ? Math.min(other.start, other.end) : other.start;
    let last = -Infinity;
    for (const { value, text } of axis.ticks()) {
      const at = axis.p(value);
      if (at < Math.min(axis.start, axis.end) - 1 || at > Math.max(axis.start, axis.end) + 1) continue;
      if (axis.spec.showgrid !== false) {
        if (isX) this.stroke(at, other.start, at, other.end, { color: "var(--grid)" });
        else this.stroke(other.start, at, other.end, at, { color: "var(--grid)" });
      }
      if (axis.spec.showticklabels === false) continue;
      const reach = axis.spec.side === "top" ? -4 : 4;
      if (axis.spec.ticks && isX) this.stroke(at, edge, at, edge + reach, { color: "var(--muted)" });
      const half = isX ? widthOf(text, LABEL) / 2 : 0;
      if (isX && at - half < last) continue; /* labels never overlap */
      if (isX) last = at + half + 4;
      const [x, y] = isX ? [at, axis.spec.side === "top" ? edge - 8 : edge + 16] : [edge - 6, at + 4];
      this.root.append(label(text, x, y, { class: "tick", "text-anchor": isX ? "middle" : "end" }));
    }
    const { title } = axis.spec;
    if (!title) return;
    const middle = (axis.start + axis.end) / 2;
    const turned = {
      class: "title",
      "text-anchor": "middle",
      transform: isX ? undefined : `rotate(-90 ${TITLE} ${middle})`,
    };
    this.root.append(label(title, isX ? middle : TITLE, isX ? edge + 34 : middle, turned));
  }

  stroke(x0, y0, x1, y1, { color, width = 1, dash }) {
    const d = `M${x0.toFixed(2)} ${y0.toFixed(2)}L${x1.toFixed(2)} ${y1.toFixed(2)}`;
    const path = svg("path", { d, fill: "none", "stroke-width": width, "stroke-dasharray": DASHES[dash] });
    path.style.stroke = color;
    this.root.append(path);
  }

  drawShapes(layer) {
    for (const shape of this.layout.shapes ?? []) {
      if (shape.layer !== layer) continue;
      const x = this.reference(shape.xref ?? "x");
      const y = this.reference(shape.yref ?? "y");
      const corners = [x(shape.x0), y(shape.y0), x(shape.x1), y(shape.y1)];
      if (shape.type === "line") this.stroke(...corners, shape.line);
      else this.root.append(this.rectangle(...corners, shape.fillcolor));
    }
  }

  rectangle(x0, y0, x1, y1, colour, attributes = {}) {
    const own = svg("rect", {
      x: Math.min(x0, x1),
      y: Math.min(y0, y1),
      width: Math.abs(x1 - x0),
      height: Math.abs(y1 - y0),
      ...attributes,
    });
    own.style.fill = colour;
    return own;
  }

  /* Where numbers of a shape or a note stand: on an axis, or as shares of its length or of the whole figure. */
  reference(name, letter = name[0]) {
    if (name === "paper")
      return letter === "x"
        ? (v) => this.box.left + v * this.box.width
        : (v) => this.box.top + (1 - v) * this.box.height;
    const axis = this.axes[name.split(" ")[0]];
    return name.endsWith("domain") ? (v) => axis.start + v * (axis.end - axis.start) : (v) => axis.p(v);
  }

  annotate({ text, x, y, yshift = 0 }) {
    const [left, low] = [this.reference("paper", "x")(x), this.reference("paper", "y")(y)];
    const note = label(text, left, low - yshift - 3, { class: "note" });
    const room = (this.width - left) / (1.06 * widthOf(text, TITLE));
    if (room < 1) note.style.fontSize = `${TITLE * room}px`;
    this.root.append(note);
  }

  drawTrace(trace) {
    const [x, y] = [this.axes[trace.xaxis ?? "x"], this.axes[trace.yaxis ?? "y"]];
    if (trace.type === "bar") return this.drawBars(trace, x, y);
    const places = trace.x.map((value, k) =>
      value === null || trace.y[k] === null ? null : [x.p(value), y.p(trace.y[k])],
    );
    if (trace.error_y && trace.error_y.visible !== false) this.drawErrors(trace, x, y);
    if (trace.mode.includes("lines")) this.drawLine(trace, places);
    if (trace.mode.includes("markers")) this.drawMarks(trace, places);
    if (trace.hovertext)
      places.forEach((at, k) => at && this.points.push({ x: at[0], y: at[1], text: trace.hovertext[k] }));
  }

  drawLine({ line, fill, fillcolor, opacity }, places) {
    let d = "";
    let before = null;
    for (const at of places) {
      if (at)
        d += !before
          ? `M${at[0].toFixed(2)} ${at[1].toFixed(2)}`
          : `${line.shape === "hv" ? `H${at[0].toFixed(2)}` : ""}L${at[0].toFixed(2)} ${at[1].toFixed(2)}`;
      before = at;
    }
    const path = svg("path", {
      d: fill ? `${d}z` : d,
      opacity,
      "stroke-width": line.width,
      "stroke-linejoin": "round",
      "stroke-dasharray": DASHES[line.dash],
    });
    path.style.fill = fill ? fillcolor : "none";
    path.style.stroke = fill ? "none" : line.color;
    this.root.append(path);
  }

  drawMarks({ marker }, places) {
    const open = marker.symbol?.endsWith("-open");
    const d = SHAPES[marker.symbol?.replace("-open", "") ?? "circle"];
    const scale = (marker.size ?? 6) / 8;
    places.forEach((at, k) => {
      if (!at) return;
      const colour = Array.isArray(marker.color) ? marker.color[k] : marker.color;
      const width = (marker.line?.width ?? (open ? 1.5 : 0)) / scale;
      const mark = svg("path", {
        class: "point",
        d,
        opacity: marker.opacity,
        "stroke-width": width,
        transform: `translate(${(at[0] - 5 * scale).toFixed(2)} ${(at[1] - 5 * scale).toFixed(2)}) scale(${scale})`,
      });
      mark.style.fill = open ? "var(--surface)" : colour;
      mark.style.stroke = width ? (marker.line?.color ?? colour) : "none";
      this.root.append(mark);
    });
  }

  drawErrors(trace, x, y) {
    const { array, arrayminus = array, color = trace.marker.color, width = 4, thickness = 1.5 } = trace.error_y;
    trace.x.forEach((value, k) => {
      if (trace.y[k] === null || array[k] === null) return;
      const [at, low, high] = [x.p(value), y.p(trace.y[k] - arrayminus[k]), y.p(trace.y[k] + array[k])];
      for (const end of [low, high]) this.stroke(at - width, end, at + width, end, { color, width: thickness });
      this.stroke(at, low, at, high, { color, width: thickness });
    });
  }

  drawBars(trace, x, y) {
    const lies = trace.orientation === "h";
    const [along, across] = lies ? [x, y] : [y, x];
    const [lengths, places] = lies ? [trace.x, trace.y] : [trace.y, trace.x];
    const thick = trace.width ?? 1 - (this.layout.bargap ?? 0.2);
    this.heights ??= new Map();
    lengths.forEach((length, k) => {
      const key = `${along.id} ${places[k]}`;
      const from = this.layout.barmode === "stack" ? (this.heights.get(key) ?? 0) : 0;
      this.heights.set(key, from + length);
      const ends = [along.p(from), along.p(from + length)];
      const sides = [across.p(places[k] - thick / 2), across.p(places[k] + thick / 2)];
      const [[x0, x1], [y0, y1]] = lies ? [ends, sides] : [sides, ends];
      const { color, line } = trace.marker;
      const bar = this.rectangle(x0, y0, x1, y1, color, { class: "bar", "stroke-width": line?.width });
      if (line?.color) bar.style.stroke = line.color;
      this.root.append(bar);
      const box = { x: [x0, x1].sort(ascending), y: [y0, y1].sort(ascending) };
      if (trace.hovertext) this.points.push({ x: (x0 + x1) / 2, y: (y0 + y1) / 2, text: trace.hovertext[k], box });
    });
  }

  /* Say what is at the pointer. */
  listen(element) {
    this.told = document.createElement("div");
    this.told.className = "hover";
    this.told.hidden = true;
    element.append(this.told);
    this.ring = svg("circle", { class: "ring", r: 8, visibility: "hidden" });
    this.root.append(this.ring);
    this.root.addEventListener("pointermove", (event) => this.tell(this.nearest(event)));
    this.root.addEventListener("pointerdown", (event) => this.tell(this.nearest(event)));
    this.root.addEventListener("pointerleave", () => this.tell(undefined));
  }

  nearest(event) {
    const bounds = this.root.getBoundingClientRect();
    const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
    const inside = ({ box }) => box && x >= box.x[0] && x <= box.x[1] && y >= box.y[0] && y <= box.y[1];
    let [best, least] = [undefined, NEAR];
    for (const point of this.points) {
      const distance = point.box ? (inside(point) ? 0 : Infinity) : Math.hypot(point.x - x, point.y - y);
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  }

  tell(point) {
    this.told.hidden = !point;
    this.ring.setAttribute("visibility", point && !point.box ? "visible" : "hidden");
    if (!point) return;
    this.ring.setAttribute("cx", point.x);
    this.ring.setAttribute("cy", point.y);
    const lines = pieces(point.text).map((line) => {
      const row = document.createElement("div");
      for (const piece of line) {
        const part = document.createElement(piece.sub ? "sub" : piece.bold ? "b" : "span");
        part.textContent = piece.text;
        row.append(part);
      }
      return row;
    });
    this.told.replaceChildren(...lines);
    const { offsetWidth, offsetHeight } = this.told;
    const right = point.x + 12 + offsetWidth < this.width;
    this.told.style.left = `${Math.max(0, right ? point.x + 12 : point.x - 12 - offsetWidth)}px`;
    this.told.style.top = `${Math.max(0, Math.min(point.y - offsetHeight / 2, this.height - offsetHeight))}px`;
  }
}

function ascending(a, b) {
  return a - b;
}
