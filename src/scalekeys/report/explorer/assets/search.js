/* The best parameters of a family for one kernel: the best node of a grid, and of the start, walked uphill. */

import { LARGEST_SIDES, hasLimit } from "./scalespace.js";
import { placeOf, valueAt } from "./filters.js";

const NODES = { 1: 24, 2: 9, 3: 5 };
const SMALLEST_STEP = 1e-5;

export function bestOf(family, start, quality, side) {
  const { parameters: names } = family;
  const end = (name) => (name === "angle" ? 1 : placeOf(name, name === "alpha" ? 10 : LARGEST_SIDES * side, side));
  const ends = names.map(end);
  const values = (places) => names.map((name, k) => valueAt(name, places[k], side));
  const score = (places) => {
    const own = values(places);
    const found = family.kind === "two-scales" && own[0] >= own[1] ? -Infinity : quality(own);
    return Number.isNaN(found) ? -Infinity : found;
  };
  const count = NODES[names.length];
  let nodes = [[]];
  for (const most of ends)
    nodes = nodes.flatMap((own) => Array.from({ length: count }, (_, k) => [...own, (most * (k + 0.3)) / count]));
  nodes.push(start.map((value, k) => Math.min(placeOf(names[k], value, side), ends[k])));
  let best = nodes.map((places) => ({ places, score: score(places) })).reduce((a, b) => (b.score > a.score ? b : a));
  for (let step = 0.5 / count; step > SMALLEST_STEP; step /= 2) best = walked(best, step, ends, score);
  const limited = (k) => hasLimit(family) && names[k].startsWith("t") && best.places[k] >= ends[k] - SMALLEST_STEP;
  return values(best.places).map((value, k) => (limited(k) ? Infinity : value));
}

/* Walk along single parameters, and their diagonals, as long as it goes uphill. */
function walked(best, step, ends, score) {
  const count = ends.length;
  const moves = Array.from({ length: 3 ** count }, (_, code) =>
    ends.map((_, k) => (Math.floor(code / 3 ** k) % 3) - 1),
  );
  for (let turn = 0; turn < 20; turn++) {
    const tried = moves.map((move) => {
      const places = best.places.map((place, k) => Math.min(Math.max(place + step * move[k], 0), ends[k]));
      return { places, score: score(places) };
    });
    const next = tried.reduce((a, b) => (b.score > a.score ? b : a));
    if (!(next.score > best.score)) return best;
    best = next;
  }
  return best;
}
