/* The contact sheet: every kernel in a cell of a canvas, of which only the rows in sight are drawn. */

import { colour, curve, flattened, paint, palettes, prepared } from "./pictures.js";

const BAR = 3; /* the family, as a bar below its kernel */
const GAP = 5;
const KEPT_ROWS = 80;

export class Sheet {
  constructor(box, filters, { onPick, onPoint }) {
    this.box = box;
    this.canvas = box.querySelector("canvas");
    this.spacer = box.querySelector(".spacer");
    this.filters = filters;
    this.order = [];
    this.side = 42;
    this.current = 0;
    this.hovered = -1;
    this.rows = new Map();
    this.waiting = false;
    this.onPick = onPick;
    this.onPoint = onPoint;
    this.recolour();
    box.addEventListener("scroll", () => this.ask());
    box.addEventListener("keydown", (event) => this.pressed(event));
    box.addEventListener("pointermove", (event) => this.pointed(this.placeAt(event)));
    box.addEventListener("pointerleave", () => this.pointed(-1));
    box.addEventListener("click", (event) => this.pick(this.placeAt(event)));
    new ResizeObserver(() => this.layOut()).observe(box);
  }

  recolour() {
    this.palette = palettes();
    this.colours = (family) => colour(family.colour.slice(4, -1));
    [this.ink, this.line, this.ground] = ["--text", "--ink", "--zero"].map(colour);
    this.rows.clear();
    this.ask();
  }

  show(order, side = this.side) {
    const kept = this.order[this.current];
    this.order = order;
    this.side = side;
    this.current = Math.max(order.indexOf(kept), 0);
    this.hovered = -1;
    this.layOut();
  }

  get pitch() {
    return this.side + BAR + GAP;
  }

  layOut() {
    this.columns = Math.max(1, Math.floor((this.canvas.clientWidth - GAP) / this.pitch));
    this.lines = Math.ceil(this.order.length / this.columns);
    const all = Math.ceil(this.filters.count / this.columns);
    this.box.style.height = `min(${all * this.pitch + GAP + 2}px, 26rem, 60vh)`;
    this.spacer.style.height = `${Math.max(0, this.lines * this.pitch + GAP - this.box.clientHeight)}px`;
    this.rows.clear();
    this.ask();
  }

  ask() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const { context, width, height, ratio } = prepared(this.canvas);
    const pitch = Math.round(this.pitch * ratio);
    const top = this.box.scrollTop * ratio;
    context.clearRect(0, 0, width, height);
    const first = Math.max(0, Math.floor(top / pitch));
    const last = Math.min(this.lines - 1, Math.floor((top + height) / pitch));
    for (let row = first; row <= last; row++)
      context.drawImage(this.row(row, width, ratio), 0, Math.round(row * pitch - top + GAP * ratio));
    this.mark(context, this.hovered, top, ratio, 1);
    this.mark(context, this.current, top, ratio, 2);
  }

  mark(context, place, top, ratio, thickness) {
    if (place < 0 || place >= this.order.length) return;
    const pitch = Math.round(this.pitch * ratio);
    const side = Math.round((this.side + BAR) * ratio) + 2 * thickness;
    context.strokeStyle = this.ink;
    context.lineWidth = thickness * ratio;
    const [x, y] = [place % this.columns, Math.floor(place / this.columns)];
    context.strokeRect(x * pitch + GAP * ratio - thickness, y * pitch - top + GAP * ratio - thickness, side, side);
  }

  /* The picture of one row of the sheet, made when it is first seen. */
  row(number, width, ratio) {
    const known = this.rows.get(number);
    if (known) return known;
    if (this.rows.size >= KEPT_ROWS) this.rows.delete(this.rows.keys().next().value);
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = Math.round(this.pitch * ratio);
    this.fill(canvas, this.order.slice(number * this.columns, (number + 1) * this.columns), ratio);
    this.rows.set(number, canvas);
    return canvas;
  }

  fill(canvas, own, ratio) {
    const context = canvas.getContext("2d");
    const [side, pitch] = [Math.round(this.side * ratio), Math.round(this.pitch * ratio)];
    const left = (k) => Math.round(GAP * ratio) + k * pitch;
    const image = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    own.forEach((i, k) => {
      const { size } = this.filters.layer(i);
      if (size.length > 1)
        paint(pixels, canvas.width, left(k), 0, side, flattened(this.filters.steps(i), size), this.palette.steps);
    });
    context.putImageData(image, 0, 0);
    own.forEach((i, k) => {
      const family = this.filters.family(i);
      if (this.filters.layer(i).size.length === 1) this.line1d(context, i, left(k), side, ratio);
      if (!family) return;
      context.fillStyle = this.colours(family);
      context.fillRect(left(k), side, side, Math.round(BAR * ratio));
    });
  }

  line1d(context, i, left, side, ratio) {
    context.fillStyle = this.ground;
    context.fillRect(left, 0, side, side);
    const steps = [...this.filters.steps(i)].map((step) => (step === -128 ? NaN : step));
    curve(context, steps, left, side, side, side / 2, 127, this.line, 1.2 * ratio);
  }

  placeAt(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - bounds.left - GAP / 2) / this.pitch);
    const row = Math.floor((event.clientY - bounds.top + this.box.scrollTop - GAP / 2) / this.pitch);
    const place = row * this.columns + column;
    return column >= 0 && column < this.columns && place >= 0 && place < this.order.length ? place : -1;
  }

  pointed(place) {
    if (place === this.hovered) return;
    this.hovered = place;
    this.onPoint(this.order[place] ?? -1);
    this.ask();
  }

  pick(place) {
    if (place < 0) return;
    this.current = place;
    this.ask();
    this.onPick(this.order[place]);
  }

  /* Move to a filter, and scroll to it if it is out of sight. */
  goTo(place) {
    this.current = Math.min(Math.max(place, 0), this.order.length - 1);
    const top = Math.floor(this.current / this.columns) * this.pitch;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    const bottom = top + this.pitch + GAP - this.box.clientHeight;
    if (bottom > this.box.scrollTop) this.box.scrollTop = bottom;
    this.onPoint(this.order[this.current] ?? -1);
    this.ask();
  }

  pressed(event) {
    const page = this.columns * Math.max(1, Math.floor(this.box.clientHeight / this.pitch));
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -this.columns,
      ArrowDown: this.columns,
      PageUp: -page,
      PageDown: page,
    };
    if (event.key in steps) this.goTo(this.current + steps[event.key]);
    else if (event.key === "Home") this.goTo(0);
    else if (event.key === "End") this.goTo(this.order.length - 1);
    else if (event.key === "Enter" || event.key === " ") this.pick(this.current);
    else return;
    event.preventDefault();
  }
}
