/* The axes of figures: their range, where a value stands, and their ticks. */

/* An axis: where its values stand, and its ticks. */
export class Axis {
  constructor(id, spec, traces, barmode) {
    this.id = id;
    this.spec = spec;
    this.letter = id[0];
    this.isLog = spec.type === "log";
    this.range = spec.range ?? this.extent(traces, barmode);
  }

  at(value) {
    return this.isLog ? Math.log10(value) : value;
  }

  extent(traces, barmode) {
    const values = traces.flatMap((trace) => extremes(trace, this.letter));
    if (barmode === "stack") values.push(...stacked(traces, this.letter));
    const known = values.filter(Number.isFinite).map((value) => this.at(value));
    let [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
    const isBar = traces.some((trace) => trace.type === "bar");
    const room = 0.06 * (high - low) || 0.5;
    high += room;
    low = (this.spec.rangemode === "tozero" || isBar) && !this.isLog ? Math.min(0, low) : low - room;
    return [low, high];
  }

  /* Take so many pixels from a start, in the direction of the axis. */
  place(start, length) {
    const [from, to] = this.spec.domain ?? [0, 1];
    const isX = this.letter === "x";
    this.start = isX ? start + from * length : start + (1 - from) * length;
    this.end = isX ? start + to * length : start + (1 - to) * length;
  }

  p(value) {
    return this.start + ((this.at(value) - this.range[0]) / (this.range[1] - this.range[0])) * (this.end - this.start);
  }

  ticks() {
    const { tickvals, ticktext } = this.spec;
    if (tickvals) return tickvals.map((value, k) => ({ value, text: ticktext?.[k] ?? this.written(value, 0.01) }));
    const [low, high] = [Math.min(...this.range), Math.max(...this.range)];
    const step = this.spec.dtick ?? round((high - low) / (this.spec.nticks ?? 6), this.spec.tickformat === "d");
    const first = this.spec.tick0 ?? 0;
    const found = [];
    for (let k = Math.ceil((low - first) / step - 1e-9); first + k * step <= high + 1e-9 * step; k++) {
      const value = first + k * step;
      found.push({ value, text: this.written(value, step) });
    }
    return found;
  }

  written(value, step) {
    const { tickformat = "", ticksuffix = "" } = this.spec;
    const needed = (size) => [0, 1, 2, 3, 4, 5].find((n) => Math.abs(size * 10 ** n - Math.round(size * 10 ** n)) < 1e-6);
    const decimals = needed(step) ?? 6;
    const share = tickformat.match(/^\.(\d)%$/);
    const text = share
      ? `${(100 * value).toFixed(Math.max(share[1], needed(100 * step) ?? 6))}\u00a0%`
      : tickformat === "d"
        ? String(Math.round(value))
        : String(Number(value.toFixed(decimals)));
    return text.replace("-", "\u2212") + ticksuffix;
  }
}

/* The next of 1, 2, 5, and 2.5 unless it is to be whole, times a power of ten. */
function round(step, whole) {
  const power = 10 ** Math.floor(Math.log10(step));
  const factors = whole ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10];
  const nice = factors.map((factor) => factor * power).find((own) => own >= step * (1 - 1e-9));
  return whole ? Math.max(1, nice) : nice;
}

function extremes(trace, letter) {
  const values = trace[letter];
  const error = letter === "y" ? trace.error_y : undefined;
  if (!error) return values;
  return values.flatMap((value, k) => [value + error.array[k], value - (error.arrayminus ?? error.array)[k]]);
}

function stacked(traces, letter) {
  const totals = new Map();
  for (const trace of traces) {
    const isLength = (trace.orientation === "h") === (letter === "x");
    if (trace.type !== "bar" || !isLength) continue;
    trace[letter].forEach((value, k) => {
      const place = trace[letter === "x" ? "y" : "x"][k];
      totals.set(place, (totals.get(place) ?? 0) + value);
    });
  }
  return [...totals.values()];
}
