/* The explorer: a contact sheet of all filters, and one of them beside a model that the reader chooses. */

import { LARGEST_SIDES, average, components, hasLimit, inner, solve, withinBound } from "./scalespace.js";
import { Filters, chosen, placeOf, valueAt } from "./filters.js";
import {
  PICTURES,
  drawCurves,
  drawPicture,
  flattened,
  palettes,
  picture,
  pictureFrom,
  response,
  spectrum,
  stepsOf,
  useColoursOf,
} from "./pictures.js";
import { Sheet } from "./sheet.js";
import { pythonLine, tidy } from "./line.js";
import { bestOf } from "./search.js";

const SLIDER = 1000;
const SYMBOLS = {
  tx: "σx",
  ty: "σy",
  tz: "σz",
  t: "σ",
  alpha: "α",
  t_inner: "σ inner",
  t_outer: "σ outer",
  t_along: "σ along",
  t_across: "σ across",
  angle: "angle",
};

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function figure(value, digits = 3) {
  if (value === Infinity) return "∞";
  return Number.isFinite(value) ? tidy(value, digits).replace("-", "−") : "–";
}

function sizeWords(size) {
  return size.length > 1 ? size.join("×") : `${size[0]} taps`;
}

class Explorer {
  constructor(root, data, { permalinks }) {
    this.root = root;
    this.permalinks = permalinks;
    this.parts = Object.fromEntries([...root.querySelectorAll("[data-role]")].map((part) => [part.dataset.role, part]));
    this.filters = new Filters(data);
    this.view = { order: "depth", layer: "", status: "", hidden: new Set() };
    this.index = -1;
    this.image = picture(PICTURES[0]);
    this.sheet = new Sheet(this.parts.sheet, this.filters, {
      onPick: (i) => {
        this.open(i);
        this.parts.faces.scrollIntoView({ block: "nearest" });
      },
      onPoint: (i) => this.tell(i),
    });
    this.fillControls();
    this.fillFamilies();
    this.listen();
    this.refresh();
    this.restore();
  }

  fillControls() {
    const { order, layer, status, picture: pictures } = this.parts;
    this.filters.layers.forEach((own, which) =>
      layer.append(make("option", { value: String(which), textContent: `${own.name}, ${sizeWords(own.size)}` })),
    );
    const words = [...new Set(this.filters.data.looks.map((look) => look[1]))].sort();
    status.append(...words.map((word) => make("option", { value: word, textContent: word })));
    pictures.append(...PICTURES.map((name) => make("option", { value: name, textContent: name })));
    for (const [name, control] of Object.entries({ order, layer, status })) {
      control.addEventListener("change", () => {
        this.view[name] = control.value;
        this.refresh();
        if (name === "order" && this.index >= 0) this.remember();
      });
    }
    this.parts.side.addEventListener("input", () => this.refresh());
  }

  fillFamilies() {
    const counts = new Map();
    for (let i = 0; i < this.filters.count; i++) {
      const name = this.filters.familyName(i);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const known = Object.values(this.filters.data.families).flat();
    for (const name of new Set([...known.map((family) => family.name), ""])) {
      if (!counts.has(name)) continue;
      const swatch = make("span", { className: "swatch" });
      swatch.style.setProperty("--family", known.find((family) => family.name === name)?.colour ?? "var(--line)");
      const button = make("button", { type: "button" }, swatch, `${name || "no fit"} ${counts.get(name)}`);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        if (!this.view.hidden.delete(name)) this.view.hidden.add(name);
        button.setAttribute("aria-pressed", String(!this.view.hidden.has(name)));
        this.refresh();
      });
      this.parts.families.append(button);
    }
  }

  listen() {
    const { before, after, family, search, fitted, copy, picture: pictures, file, drop } = this.parts;
    before.addEventListener("click", () => this.step(-1));
    after.addEventListener("click", () => this.step(1));
    family.addEventListener("change", () => this.choose(family.value));
    search.addEventListener("click", () => this.search());
    fitted.addEventListener("click", () => this.open(this.index));
    copy.addEventListener("click", () => this.copy());
    pictures.addEventListener("change", () => this.use(picture(pictures.value)));
    file.addEventListener("change", () => file.files[0] && this.load(file.files[0]));
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) this.load(event.dataTransfer.files[0]);
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.sheet.recolour();
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(this.parts.faces);
    if (this.permalinks) window.addEventListener("hashchange", () => this.restore());
  }

  refresh() {
    const order = chosen(this.filters, this.view);
    this.sheet.show(order, Number(this.parts.side.value));
    this.tell(-1);
  }

  /* Say in words what the pointer, or the keyboard, is at. */
  tell(i) {
    const { count } = this.filters;
    const shown = this.sheet.order.length;
    this.parts.told.textContent =
      i < 0 ? (shown < count ? `${shown} of ${count} filters` : `${count} filters`) : this.said(i);
  }

  said(i) {
    const { name, size } = this.filters.layer(i);
    const family = this.filters.familyName(i);
    const status = this.filters.status(i);
    const fit = family ? `${family}, r² ${this.filters.r2(i).toFixed(2)}` : "";
    return [`${name}, channel ${this.filters.channelOf[i]}`, sizeWords(size), fit, status === "ok" ? "" : status]
      .filter(Boolean)
      .join(" · ");
  }

  step(by) {
    const place = this.sheet.order.indexOf(this.index);
    const next = this.sheet.order[place + by];
    if (next === undefined) return;
    this.sheet.goTo(place + by);
    this.open(next);
  }

  /* Open a filter, with the model of its fit or another one. */
  open(i, family = this.filters.familyName(i), parameters = this.filters.parameters(i)) {
    this.index = i;
    this.size = this.filters.layer(i).size;
    this.side = Math.max(...this.size);
    this.learned = this.filters.kernel(i);
    this.parts.one.hidden = false;
    this.parts.name.textContent = this.said(i);
    const names = this.filters.families(i).map((own) => own.name);
    const known = this.filters.familyNamed(family, this.size);
    this.family = known ?? this.filters.families(i)[0];
    this.parameters = known ? parameters : this.family.parameters.map(() => 1);
    this.parts.family.replaceChildren(...names.map((name) => make("option", { value: name, textContent: name })));
    this.fillSliders();
    this.draw();
  }

  choose(name) {
    const scale = this.parameters.find((_, k) => this.family.parameters[k].startsWith("t"));
    this.family = this.filters.familyNamed(name, this.size);
    const start = Math.min(scale, this.side);
    this.parameters = this.family.parameters.map((own) =>
      own === "alpha" ? 0.5 : own === "angle" ? 0 : own === "t_outer" ? 1.6 * start : start,
    );
    this.search();
  }

  search() {
    if (this.learned.some(Number.isNaN)) return;
    this.parameters = bestOf(this.family, this.parameters, (parameters) => this.solved(parameters).r2, this.side);
    this.fillSliders();
    this.draw();
  }

  solved(parameters) {
    const parts = components(this.family, parameters, this.size, this.filters.data.operators);
    return solve(this.learned, parts, this.family.terms ?? parts.length);
  }

  fillSliders() {
    this.parts.family.value = this.family.name;
    this.parts.words.textContent = this.family.words;
    const most = LARGEST_SIDES / (1 + LARGEST_SIDES); /* the place of the largest scale */
    const unit = (name) => (name === "angle" ? 1 : name === "alpha" ? 10 / 11 : most);
    this.parts.sliders.replaceChildren(
      ...this.family.parameters.map((name, k) => {
        const told = make("output", { textContent: this.toldOf(name, k) });
        const slider = make("input", { type: "range", min: 0, max: SLIDER, step: 1 });
        slider.value = Math.round((SLIDER * placeOf(name, this.parameters[k], this.side)) / unit(name));
        slider.addEventListener("input", () => {
          const end = Number(slider.value) === SLIDER && name.startsWith("t") && hasLimit(this.family);
          this.parameters[k] = end ? Infinity : valueAt(name, (slider.value / SLIDER) * unit(name), this.side);
          told.textContent = this.toldOf(name, k);
          this.draw();
        });
        return make("label", {}, make("span", { textContent: SYMBOLS[name] ?? name }), slider, told);
      }),
    );
  }

  toldOf(name, k) {
    return name === "angle" ? `${figure((180 * this.parameters[k]) / Math.PI)}°` : figure(this.parameters[k]);
  }

  draw() {
    if (this.index < 0) return;
    this.palette = palettes();
    const missing = this.learned.some(Number.isNaN);
    this.model = missing ? null : this.solved(this.parameters);
    const model = this.model?.model ?? this.learned.map(() => NaN);
    const residual = this.learned.map((value, i) => value - model[i]);
    const known = [this.learned, model, residual].flatMap((own) => [...own].filter(Number.isFinite));
    const limit = Math.max(...known.map(Math.abs), 0) || 1;
    this.face("learned", this.learned, limit);
    this.face("model", model, limit);
    this.face("residual", residual, limit);
    const drawn = this.size.length > 1 ? "Colours" : "Heights";
    this.parts.range.textContent = `${drawn} from ${figure(-limit)} to ${figure(limit)}.`;
    this.parts.more.hidden = missing;
    if (!missing) {
      this.drawSpectra(model);
      this.drawResponses(model);
    }
    this.drawFigures();
    this.remember();
  }

  face(role, values, limit) {
    const canvas = this.parts[role];
    canvas.setAttribute("aria-label", `${role} kernel, ${sizeWords(this.size)}`);
    if (this.size.length > 1) drawPicture(canvas, flattened(stepsOf(values, limit), this.size), this.palette.steps);
    else drawCurves(canvas, role === "learned" ? [values] : [this.learned, values], limit);
  }

  drawSpectra(model) {
    const spectra = [this.learned, model].map((values) => spectrum(values, this.size));
    const limit = Math.max(...spectra.flatMap((own) => [...own.values])) || 1;
    spectra.forEach((own, k) => {
      const canvas = this.parts[k ? "model-spectrum" : "learned-spectrum"];
      canvas.setAttribute("aria-label", `absolute values of the spectrum, frequencies from minus to plus one half`);
      const steps = Uint8Array.from(own.values, (value) => (255 * value) / limit);
      if (own.rows > 1) drawPicture(canvas, { ...own, steps }, this.palette.shares, 0);
      else drawCurves(canvas, k ? [spectra[0].values, own.values] : [own.values], limit, { positive: true });
    });
  }

  drawResponses(model) {
    const mean = average(this.image);
    const contrast = this.image.map((value) => value - mean); /* a flat picture has no response */
    const [learned, other] = [this.learned, model].map((values) => response(contrast, values, this.size));
    const limit = Math.max(...[learned, other].flatMap((own) => [...own.values]).map(Math.abs)) || 1;
    const side = Math.sqrt(this.image.length);
    const grey = Uint32Array.from({ length: 256 }, (_, k) => (255 << 24) | (k << 16) | (k << 8) | k);
    const steps = Uint8Array.from(this.image, (value) => 255 * Math.min(Math.max(value, 0), 1));
    drawPicture(this.parts.input, { steps, rows: side, cols: side }, grey, 0);
    [learned, other].forEach((own, k) => {
      const canvas = this.parts[k ? "model-response" : "learned-response"];
      canvas.setAttribute("aria-label", `response of the ${k ? "model" : "learned filter"}`);
      if (own.rows === 1) drawCurves(canvas, k ? [learned.values, own.values] : [own.values], limit);
      else drawPicture(canvas, { ...own, steps: stepsOf(own.values, limit) }, this.palette.steps);
    });
    const rest = learned.values.map((value, i) => value - other.values[i]);
    const spread = (values) => inner(values, values) / values.length - average(values) ** 2;
    const share = spread(learned.values) > 0 ? 1 - spread(rest) / spread(learned.values) : NaN;
    const told = `The model explains ${figure(100 * share)} % of the variance of the response of the learned filter`;
    this.parts.compared.textContent = `${told}. The mean of the picture is taken away first.`;
  }

  drawFigures() {
    const found = this.model;
    const rows = [
      ["r²", figure(found?.r2 ?? NaN, 4)],
      ["r² of the fit", this.filters.familyName(this.index) ? this.filters.r2(this.index).toFixed(2) : "–"],
      [
        found && found.coefficients.length > 1 ? "coefficients" : "amplitude",
        found ? found.coefficients.map((own) => figure(own)).join(", ") : "–",
      ],
      ["offset", figure(found?.offset ?? NaN)],
    ];
    const entry = (tag, textContent) => make(tag, { textContent });
    this.parts.figures.replaceChildren(
      ...rows.map(([name, value]) => make("div", {}, entry("dt", name), entry("dd", value))),
    );
    this.parts.line.textContent = found ? pythonLine(this.family, this.drawn(), this.size, found) : "";
  }

  /* The parameters of the kernel that is drawn. */
  drawn() {
    if (hasLimit(this.family)) return this.parameters;
    const own = this.parameters.map((value) => Math.min(value, LARGEST_SIDES * this.side));
    return this.family.kind === "oriented" ? withinBound(own) : own;
  }

  /* Copy the line; where the browser does not allow that, select it. */
  async copy() {
    const { copy, line } = this.parts;
    try {
      await navigator.clipboard.writeText(line.textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(line);
      copy.textContent = "Selected";
    }
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  }

  use(image) {
    this.image = image;
    this.draw();
  }

  load(file) {
    pictureFrom(file).then(
      (image) => this.use(image),
      () => (this.parts.compared.textContent = `${file.name} is no picture that the browser reads.`),
    );
  }

  /* A link to what is shown, as the fragment of the address. */
  remember() {
    if (!this.permalinks || this.restoring) return;
    const entries = {
      layer: this.filters.layerOf[this.index],
      channel: this.filters.channelOf[this.index],
      family: this.family.name,
      at: this.parameters.map((value) => tidy(value, 6)).join(","),
      order: this.view.order,
    };
    history.replaceState(null, "", `#explorer?${new URLSearchParams(entries)}`);
  }

  restore() {
    if (!this.permalinks || !location.hash.startsWith("#explorer?")) return;
    const asked = new URLSearchParams(location.hash.slice("#explorer?".length));
    const layer = this.filters.layers[Number(asked.get("layer"))];
    const channel = Number(asked.get("channel"));
    if (!layer || !(channel < layer.count)) return;
    const i = this.filters.starts[Number(asked.get("layer"))] + channel;
    const family = this.filters.familyNamed(asked.get("family"), layer.size);
    const numbers = (asked.get("at") ?? "").split(",").map(Number);
    this.restoring = true;
    if ([...this.parts.order.options].some((option) => option.value === asked.get("order"))) {
      this.parts.order.value = this.view.order = asked.get("order");
      this.refresh();
    }
    if (family && numbers.length === family.parameters.length && numbers.every((value) => value >= 0))
      this.open(i, family.name, numbers);
    else this.open(i);
    this.restoring = false;
    this.root.scrollIntoView();
    requestAnimationFrame(() => this.sheet.goTo(this.sheet.order.indexOf(i)));
  }
}

/* Bring the markup of an explorer to life; with links in the address of the page, or without. */
export function mount(root, data, { permalinks = false } = {}) {
  useColoursOf(root);
  return new Explorer(root, data, { permalinks });
}
