/* The filters of a page, from the bytes of scalekeys.report.explorer.payload, and what they are sorted by. */

import { LARGEST_SIDES } from "./scalespace.js";

const MISSING = -128;
const PLACES = 65535;
const RATIO = 32; /* of two infinite scales at most, and the sides of a kernel in the smaller one: */
const FAR_SIDES = 64;

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/* One layer: its kernels, and what a fit says of each. */
function unpacked(layer) {
  const { count, size, numbers, bits } = layer;
  const taps = size.reduce((a, b) => a * b, 1);
  const view = new DataView(bytesOf(layer.bytes).buffer);
  const end = (count * taps * bits) / 8;
  return {
    ...layer,
    taps,
    full: 2 ** (bits - 1) - 1,
    steps: bits === 16 ? new Int16Array(view.buffer, 0, count * taps) : new Int8Array(view.buffer, 0, count * taps),
    exponent: new Int8Array(view.buffer, end, count),
    look: new Uint8Array(view.buffer, end + count, count),
    r2: new Uint8Array(view.buffer, end + 2 * count, count),
    places: (channel) =>
      Array.from(
        { length: numbers },
        (_, k) => view.getUint16(end + 3 * count + 2 * (channel * numbers + k), true) / PLACES,
      ),
  };
}

export class Filters {
  constructor(data) {
    this.data = data;
    this.layers = data.layers.map(unpacked);
    this.count = this.layers.reduce((total, layer) => total + layer.count, 0);
    this.layerOf = new Uint32Array(this.count);
    this.channelOf = new Uint32Array(this.count);
    this.starts = [];
    let place = 0;
    this.layers.forEach((layer, which) => {
      this.starts.push(place);
      for (let channel = 0; channel < layer.count; channel++, place++) {
        this.layerOf[place] = which;
        this.channelOf[place] = channel;
      }
    });
    this.byName = Object.fromEntries(
      Object.entries(data.families).map(([axes, own]) => [axes, new Map(own.map((family) => [family.name, family]))]),
    );
  }

  layer(i) {
    return this.layers[this.layerOf[i]];
  }

  written(i) {
    const { steps, taps } = this.layer(i);
    return steps.subarray(this.channelOf[i] * taps, (this.channelOf[i] + 1) * taps);
  }

  /* The values of a kernel in 254 steps between its largest absolute value and minus that. */
  steps(i) {
    const { full } = this.layer(i);
    const own = this.written(i);
    let largest = 0;
    for (const step of own) if (step >= -full) largest = Math.max(largest, Math.abs(step));
    return Int8Array.from(own, (step) => (step < -full ? MISSING : largest && Math.round((127 * step) / largest)));
  }

  kernel(i) {
    const { full, exponent } = this.layer(i);
    const unit = 2 ** exponent[this.channelOf[i]] / full;
    return Float64Array.from(this.written(i), (step) => (step < -full ? NaN : step * unit));
  }

  familyName(i) {
    return this.data.looks[this.layer(i).look[this.channelOf[i]]][0];
  }

  status(i) {
    return this.data.looks[this.layer(i).look[this.channelOf[i]]][1];
  }

  r2(i) {
    return this.layer(i).r2[this.channelOf[i]] / 255;
  }

  family(i) {
    return this.familyNamed(this.familyName(i), this.layer(i).size);
  }

  families(i) {
    return this.data.families[this.layer(i).size.length];
  }

  familyNamed(name, size) {
    return this.byName[size.length].get(name);
  }

  /* The parameters of the fit: standard deviations, a strength, an angle. */
  parameters(i) {
    const family = this.family(i);
    if (!family) return [];
    const { places, size } = this.layer(i);
    const side = Math.max(...size);
    const own = places(this.channelOf[i]);
    const values = family.parameters.map((name, k) => valueAt(name, own[k], side));
    return finished(values, family, side);
  }

  /* The geometric mean of the scales of a filter; NaN without a fit. */
  scale(i) {
    const family = this.family(i);
    const scales = family ? this.parameters(i).filter((_, k) => family.parameters[k].startsWith("t")) : [];
    return scales.length ? scales.reduce((a, b) => a * b, 1) ** (1 / scales.length) : NaN;
  }
}

/* A parameter from its place between 0 and 1, and back. */
export function valueAt(name, place, side) {
  if (name === "angle") return place * Math.PI;
  return ((name === "alpha" ? 1 : side) * place) / (1 - place);
}

export function placeOf(name, value, side) {
  if (name === "angle") return value / Math.PI;
  return value === Infinity ? 1 : value / ((name === "alpha" ? 1 : side) + value);
}

/* Scales beyond the largest that can be told become infinite; several that differ become large ones of their ratio. */
function finished(values, family, side) {
  const large = values.filter((value, k) => family.parameters[k].startsWith("t") && value > LARGEST_SIDES * side);
  const least = Math.min(...large);
  const same = large.every((value) => value < 1.001 * least || value === least);
  return values.map((value, k) => {
    if (!family.parameters[k].startsWith("t") || value <= LARGEST_SIDES * side) return value;
    return same ? Infinity : FAR_SIDES * side * Math.min(value / least, RATIO);
  });
}

/* The filters that a reader wants to see, in their order. */
export function chosen(filters, { order, layer, status, hidden }) {
  const found = [];
  for (let i = 0; i < filters.count; i++) {
    if (layer !== "" && filters.layerOf[i] !== Number(layer)) continue;
    if (status !== "" && filters.status(i) !== status) continue;
    if (!hidden.has(filters.familyName(i))) found.push(i);
  }
  const keys = {
    r2: (i) => -filters.r2(i),
    scale: (i) => filters.scale(i),
    formation: (i) => -(filters.layer(i).formation ?? NaN),
  };
  if (!keys[order]) return found;
  const key = new Float64Array(filters.count);
  for (const i of found) {
    const value = filters.familyName(i) || order === "formation" ? keys[order](i) : NaN;
    key[i] = Number.isNaN(value) ? Infinity : Math.min(value, 1e30);
  }
  return found.sort((a, b) => (key[a] === key[b] ? a - b : key[a] - key[b]));
}
