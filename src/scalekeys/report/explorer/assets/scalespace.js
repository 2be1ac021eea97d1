/* Discrete scale space on the taps of a kernel: T(n; t), the families, and their least-squares fit.

   A kernel is a flat Float64Array in the order of its array (slices, rows, cols); scales come in the order (x, y, z),
   and y points up. Families and difference operators are tables, made by scalekeys.report.explorer.tables. */

const TERMS = 4; /* of the expansion of T(n; t) in 1 / t */
const CONSTANT = 1e-9;
export const LARGEST_SIDES = 8; /* a scale of more sides of the kernel shows no difference to an infinite one */
const DEPENDENT = 1e-10;

/* T(n; t) = exp(-t) I_n(t) at n = 0 .. radius, by the backward continued fraction of the ratios I_n / I_(n-1):
   every term is positive, so nothing cancels or overflows. */
export function discreteGaussian(t, radius) {
  const length = radius + Math.ceil(8 * Math.sqrt(t)) + 6;
  const ratios = new Float64Array(radius + 1);
  let ratio = t / (length + 1 + Math.hypot(length + 1, t));
  let tail = 0;
  for (let k = length; k > 0; k--) {
    ratio = t / (2 * k + t * ratio);
    tail = ratio + ratio * tail;
    if (k <= radius) ratios[k] = ratio;
  }
  const values = new Float64Array(radius + 1);
  values[0] = 1 / (1 + 2 * tail);
  for (let n = 1; n <= radius; n++) values[n] = values[n - 1] * ratios[n];
  return values;
}

/* The polynomials of sqrt(2 pi t) T(n; t) in powers of 1 / t (Abramowitz and Stegun, 9.7.1), at n = 0 .. radius. */
export function expansion(radius) {
  const terms = [new Float64Array(radius + 1).fill(1)];
  for (let k = 1; k < TERMS; k++) {
    terms.push(terms[k - 1].map((value, n) => (value * -(4 * n * n - (2 * k - 1) ** 2)) / (8 * k)));
  }
  return terms;
}

/* A difference operator on an even function of the integers, given at 0 and above, at the taps of a window. */
function stencilled(stencil, kernel, side, flipped) {
  const values = new Float64Array(side);
  const middle = (side - 1) / 2;
  for (let i = 0; i < side; i++) {
    let total = 0;
    for (const [offset, weight] of stencil) total += weight * kernel[Math.abs(i - middle + offset)];
    values[flipped ? side - 1 - i : i] = total;
  }
  return values;
}

function addOuter(total, profiles, size, weight) {
  const [x, y = [1], z = [1]] = profiles;
  let place = 0;
  for (const c of z) for (const b of y) for (const a of x) total[place++] += weight * a * b * c;
}

/* The profiles of an operator along an axis: one, or, where the variance is infinite, a series in 1 / t. */
function profilesOf(name, axis, side, sigma, operators) {
  const stencil = operators[name === "impulse" ? "identity" : name][side % 2 ? "whole" : "half"];
  const radius = Math.ceil(side / 2) + 6;
  let kernels;
  if (name === "impulse") kernels = [new Float64Array(radius + 1).fill(1, 0, 1)];
  else kernels = sigma === Infinity ? expansion(radius) : [discreteGaussian(sigma ** 2, radius)];
  return kernels.map((kernel) => stencilled(stencil, kernel, side, axis === 1));
}

/* The sum of separable terms at one standard deviation an axis; its limit, of mean 0 and norm 1, at infinite ones,
   which are equal. */
function separable(terms, sigma, size, operators) {
  const taps = size.reduce((a, b) => a * b, 1);
  const sides = [...size].reverse();
  const series = Array.from({ length: sigma.includes(Infinity) ? TERMS : 1 }, () => new Float64Array(taps));
  for (const [weight, names] of terms) {
    const along = names.map((name, axis) => profilesOf(name, axis, sides[axis], sigma[axis], operators));
    const lengths = along.map((own) => own.length);
    for (const powers of combinations(lengths, series.length)) {
      const order = powers.reduce((a, b) => a + b, 0);
      const profiles = along.map((own, axis) => own[powers[axis]]);
      addOuter(series[order], profiles, size, weight);
    }
  }
  return series.length > 1 ? firstThatVaries(series) : series[0];
}

/* All choices of one power an axis whose sum is below a number of terms. */
function combinations(lengths, terms) {
  let found = [[]];
  for (const length of lengths) {
    found = found.flatMap((own) => Array.from({ length }, (_, power) => [...own, power]));
  }
  return found.filter((powers) => powers.reduce((a, b) => a + b, 0) < terms);
}

function firstThatVaries(series) {
  for (const term of series) {
    const varying = centred(term);
    const size = norm(varying);
    if (size > CONSTANT * norm(term)) return varying.map((value) => value / size);
  }
  return series[0].fill(0);
}

/* A derivative along an angle of the positive affine kernel of covariance C: the convolution of three discrete
   analogues of the Gaussian, along x, y and a diagonal. */
function oriented(order, [along, across, angle], size) {
  const [rows, cols] = size;
  const mean = (along ** 2 + across ** 2) / 2;
  const half = (along ** 2 - across ** 2) / 2;
  const mixed = half * Math.sin(2 * angle);
  const diagonal = Math.abs(mixed);
  const variances = [mean + half * Math.cos(2 * angle), mean - half * Math.cos(2 * angle)];
  const reach = Math.ceil(7 * Math.sqrt(diagonal)) + 5;
  const radius = Math.ceil(Math.max(...size) / 2) + 3 + reach;
  const [kx, ky] = variances.map((t) => discreteGaussian(Math.max(t - diagonal, 0), radius));
  const kd = discreteGaussian(diagonal, reach);
  const halves = [cols % 2 === 0, rows % 2 === 0];
  const at = (kernel, place, half) =>
    half ? (kernel[Math.abs(place - 0.5)] + kernel[Math.abs(place + 0.5)]) / 2 : kernel[Math.abs(place)];
  const smooth = (x, y) => {
    let total = 0;
    for (let m = -reach; m <= reach; m++) {
      total += at(kx, x + m, halves[0]) * at(ky, (mixed < 0 ? -y : y) + m, halves[1]) * kd[Math.abs(m)];
    }
    return total;
  };
  const kernel = grid(rows + 2, cols + 2, smooth);
  return directional(kernel, order, angle, rows, cols);
}

/* Values of a function of (x, y) on a window, row by row with y growing. */
function grid(rows, cols, value) {
  return Array.from({ length: rows }, (_, row) =>
    Float64Array.from({ length: cols }, (_, col) => value(col - (cols - 1) / 2, row - (rows - 1) / 2)),
  );
}

function directional(kernel, order, angle, rows, cols) {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const values = new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    const [low, mid, high] = [kernel[row], kernel[row + 1], kernel[row + 2]];
    for (let col = 0; col < cols; col++) {
      const c = col + 1;
      let value = mid[c];
      if (order === 1) value = (cos * (mid[c + 1] - mid[c - 1]) + sin * (high[c] - low[c])) / 2;
      if (order === 2) {
        const xx = mid[c + 1] - 2 * mid[c] + mid[c - 1];
        const yy = high[c] - 2 * mid[c] + low[c];
        const xy = (high[c + 1] - high[c - 1] - low[c + 1] + low[c - 1]) / 4;
        value = cos * cos * xx + 2 * cos * sin * xy + sin * sin * yy;
      }
      values[(rows - 1 - row) * cols + col] = value;
    }
  }
  return values;
}

/* The largest ratio of eccentricity that a positive affine kernel has at an angle, applied to both scales. */
export function withinBound([along, across, angle]) {
  const mean = (along ** 2 + across ** 2) / 2;
  const most = 1 / (Math.abs(Math.cos(2 * angle)) + Math.abs(Math.sin(2 * angle)));
  const wanted = mean ? (along ** 2 - across ** 2) / (2 * mean) : 0;
  const own = Math.min(Math.max(wanted, -most), most);
  return own === wanted ? [along, across, angle] : [Math.sqrt(mean * (1 + own)), Math.sqrt(mean * (1 - own)), angle];
}

/* The components of a family on a window; one, or those of a mixture. Parameters are standard deviations, and after
   them a strength or an angle where the family has one. A scale counts as infinite where the family has a limit. */
export function components(family, parameters, size, operators) {
  const largest = LARGEST_SIDES * Math.max(...size);
  const numbers = hasLimit(family) ? parameters : parameters.map((value) => Math.min(value, largest));
  if (family.kind === "oriented") return [oriented(family.order, withinBound(numbers), size)];
  if (family.kind === "scales") return family.components.map((terms) => separable(terms, numbers, size, operators));
  const [first, second] = numbers;
  const two = family.kind === "two-scales";
  const sigma = [first, two ? second : first];
  const weights = [1, two ? -1 : second];
  const total = new Float64Array(size.reduce((a, b) => a * b, 1));
  family.components.forEach((terms, which) => {
    const scales = new Array(size.length).fill(sigma[which]);
    separable(terms, scales, size, operators).forEach((value, i) => (total[i] += weights[which] * value));
  });
  return [total];
}

/* Whether a family has a kernel of its own at infinite scales; the others are taken at a large one. */
export function hasLimit(family) {
  return family.kind === "scales" && !family.mixture;
}

/* The least-squares fit of components and an offset to a kernel; of at most so many components, the best one by one. */
export function solve(learned, parts, most = parts.length) {
  const mean = average(learned);
  const target = learned.map((value) => value - mean);
  const rest = Float64Array.from(target);
  const basis = [];
  const waiting = parts.map((part, which) => ({ which, own: centred(part), length: norm(centred(part)) }));
  while (basis.length < most && waiting.length) {
    for (const part of waiting)
      for (let pass = 0; pass < 2; pass++) for (const { unit } of basis) subtract(part.own, unit);
    const usable = waiting.filter((part) => norm(part.own) > DEPENDENT * part.length && part.length > 0);
    if (!usable.length) break;
    const gain = (part) => Math.abs(inner(part.own, rest)) / norm(part.own);
    const next = most < parts.length ? usable.reduce((a, b) => (gain(b) > gain(a) ? b : a)) : usable[0];
    waiting.splice(waiting.indexOf(next), 1);
    const size = norm(next.own);
    const unit = next.own.map((value) => value / size);
    subtract(rest, unit);
    basis.push({ which: next.which, unit });
  }
  return solution(target, mean, rest, basis, parts);
}

function solution(target, mean, rest, basis, parts) {
  const coefficients = new Array(parts.length).fill(0);
  const right = Float64Array.from(target);
  for (let k = basis.length - 1; k >= 0; k--) {
    const { which, unit } = basis[k];
    const part = centred(parts[which]);
    coefficients[which] = inner(right, unit) / inner(part, unit);
    part.forEach((value, i) => (right[i] -= coefficients[which] * value));
  }
  const offset = parts.reduce((total, part, which) => total - coefficients[which] * average(part), mean);
  const model = target.map((value, i) => value - rest[i] + mean);
  const energy = inner(target, target);
  return { coefficients, offset, model, r2: energy > 0 ? 1 - inner(rest, rest) / energy : NaN };
}

export function average(values) {
  let total = 0;
  for (const value of values) total += value;
  return total / values.length;
}

export function inner(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}

function norm(values) {
  return Math.sqrt(inner(values, values));
}

function centred(values) {
  const mean = average(values);
  return Float64Array.from(values, (value) => value - mean);
}

function subtract(values, unit) {
  const share = inner(values, unit);
  for (let i = 0; i < values.length; i++) values[i] -= share * unit[i];
}
