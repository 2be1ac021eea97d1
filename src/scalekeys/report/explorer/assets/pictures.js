/* Kernels, spectra and responses on a canvas, and pictures to try a filter on. */

const PICTURE_SIDE = 128;
const FREQUENCIES = 33;
const ROW = 98; /* of the picture, for kernels of one axis */
const NOTHING = 128; /* a step that shows the ground of the page */

let coloured = null;

/* Take the colours of the stylesheet from this element on. */
export function useColoursOf(element) {
  coloured = element;
}

export function colour(name) {
  return getComputedStyle(coloured).getPropertyValue(name).trim();
}

function rgb(name) {
  const text = colour(name);
  const hex = /^#[0-9a-f]{6}$/i.test(text) ? text : "#808080";
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function packed([r, g, b]) {
  return (255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r);
}

function mixed(from, to, share) {
  return from.map((value, k) => value + (to[k] - value) * share);
}

/* The colours of the scheme in force: of steps -128 .. 127 of a kernel, and of shares of the largest value. */
export function palettes() {
  const names = ["--positive", "--negative", "--zero", "--missing", "--ink"];
  const [positive, negative, zero, missing, ink] = names.map(rgb);
  const steps = Uint32Array.from({ length: 257 }, (_, k) => {
    const value = (k - 128) / 127;
    if (k === 128 + NOTHING) return 0;
    return k === 0 ? packed(missing) : packed(mixed(zero, value < 0 ? negative : positive, Math.abs(value)));
  });
  const shares = Uint32Array.from({ length: 256 }, (_, k) => packed(mixed(zero, ink, k / 255)));
  return { steps, shares };
}

/* Values as steps of a palette of kernels; NaN is missing. */
export function stepsOf(values, limit) {
  return Int8Array.from(values, (value) =>
    Number.isNaN(value) ? -128 : Math.round(127 * Math.min(Math.max(value / limit, -1), 1)),
  );
}

/* Slices of a kernel of three axes beside each other, with a gap of one tap; other kernels as they are. */
export function flattened(steps, size) {
  if (size.length < 3) return { steps, rows: size.at(-2) ?? 1, cols: size.at(-1) };
  const [slices, rows, cols] = size;
  const across = Math.ceil(Math.sqrt(slices));
  const down = Math.ceil(slices / across);
  const width = across * (cols + 1) - 1;
  const all = new Int16Array(width * (down * (rows + 1) - 1)).fill(NOTHING);
  for (let slice = 0; slice < slices; slice++) {
    const top = Math.floor(slice / across) * (rows + 1);
    const left = (slice % across) * (cols + 1);
    for (let row = 0; row < rows; row++) {
      const start = (slice * rows + row) * cols;
      all.set(steps.subarray(start, start + cols), (top + row) * width + left);
    }
  }
  return { steps: all, rows: down * (rows + 1) - 1, cols: width };
}

/* Paint a picture into a square of an image, as large as fits, one rectangle a tap. */
export function paint(pixels, stride, left, top, side, { steps, rows, cols }, palette, zero = 128) {
  const unit = side / Math.max(rows, cols);
  const [width, height] = [Math.max(1, Math.round(cols * unit)), Math.max(1, Math.round(rows * unit))];
  const [x, y] = [left + ((side - width) >> 1), top + ((side - height) >> 1)];
  for (let row = 0; row < height; row++) {
    const line = Math.floor((row * rows) / height) * cols;
    const start = (y + row) * stride + x;
    for (let col = 0; col < width; col++)
      pixels[start + col] = palette[steps[line + Math.floor((col * cols) / width)] + zero];
  }
}

/* Fit a canvas to its place on the page, and return its context and size in pixels of the device. */
export function prepared(canvas, width = canvas.clientWidth, height = canvas.clientHeight) {
  const ratio = window.devicePixelRatio || 1;
  const size = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  return { context: canvas.getContext("2d"), width: size[0], height: size[1], ratio };
}

export function drawPicture(canvas, picture, palette, zero = 128) {
  const { context, width, height } = prepared(canvas);
  const image = context.createImageData(width, height);
  paint(new Uint32Array(image.data.buffer), width, 0, 0, Math.min(width, height), picture, palette, zero);
  context.putImageData(image, 0, 0);
}

/* Lines over the taps of kernels of one axis, the last in front; heights between -limit, or 0, and limit. */
export function drawCurves(canvas, curves, limit, { positive = false } = {}) {
  const { context, width, height, ratio } = prepared(canvas);
  context.fillStyle = colour("--zero");
  context.fillRect(0, 0, width, height);
  const ground = positive ? height - 2 : height / 2;
  curve(context, [0, 0], 0, width, height, ground, limit, colour("--line"), 1);
  curves.forEach((values, which) => {
    const [ink, thickness] = which === curves.length - 1 ? ["--ink", 1.5] : ["--missing", 3];
    curve(context, values, 0, width, height, ground, limit, colour(ink), thickness * ratio);
  });
}

export function curve(context, values, left, width, height, ground, limit, ink, thickness) {
  const room = 0.06 * width;
  const reach = Math.min(ground, height) - 0.06 * height;
  context.strokeStyle = ink;
  context.lineWidth = thickness;
  context.lineJoin = "round";
  context.beginPath();
  values.forEach((value, k) => {
    const x = left + room + ((width - 2 * room) * k) / Math.max(values.length - 1, 1);
    const y = ground - reach * Math.min(Math.max(value / limit, -1), 1);
    if (Number.isNaN(y)) return;
    context[k ? "lineTo" : "moveTo"](x, y);
  });
  context.stroke();
}

/* Absolute values of the Fourier transform of a kernel, over frequencies from -pi to pi along x and y. */
export function spectrum(kernel, size) {
  const cols = size.at(-1);
  const rows = size.at(-2) ?? 1;
  const flat = new Float64Array(rows * cols); /* slices along z are summed: the transform at its frequency 0 */
  kernel.forEach((value, i) => (flat[i % (rows * cols)] += value));
  const up = size.length > 1 ? FREQUENCIES : 1;
  const out = new Float64Array(up * FREQUENCIES);
  const frequency = (k) => 2 * Math.PI * (k / (FREQUENCIES - 1)) - Math.PI;
  for (let u = 0; u < FREQUENCIES; u++) {
    const [real, imaginary] = [new Float64Array(rows), new Float64Array(rows)];
    for (let col = 0; col < cols; col++) {
      const [c, s] = [Math.cos(frequency(u) * col), Math.sin(frequency(u) * col)];
      for (let row = 0; row < rows; row++) {
        real[row] += flat[row * cols + col] * c;
        imaginary[row] += flat[row * cols + col] * s;
      }
    }
    for (let v = 0; v < up; v++) {
      let [a, b] = [0, 0];
      for (let row = 0; row < rows; row++) {
        const [c, s] = [Math.cos(frequency(v) * row), Math.sin(frequency(v) * row)];
        a += real[row] * c - imaginary[row] * s;
        b += real[row] * s + imaginary[row] * c;
      }
      out[(up - 1 - v) * FREQUENCIES + u] = Math.hypot(a, b);
    }
  }
  return { values: out, rows: up, cols: FREQUENCIES };
}

/* Numbers between 0 and 1 that are the same on every machine. */
function noise(seed) {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

const bump = (x, y, a, b, sigma) => Math.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma ** 2));

/* Pictures by name: functions of x and y from 0 to 127, with values about 0 to 1. */
const GENERATED = {
  edges: () => (x, y) => {
    if (Math.hypot(x - 36, y - 38) < 24) return 0.9;
    if (Math.abs(x - 92) + Math.abs(y - 38) < 28) return 0.1;
    if (y > 80 && y < 116 && x > 14 && x < 58) return 0.2;
    return y > 80 && x > 70 && (x - 70) % 14 < 7 ? 0.85 : 0.5;
  },
  gratings: () => (x, y) => 0.5 + 0.5 * Math.cos(((x - 63.5) ** 2 + (y - 63.5) ** 2) / 60),
  blobs: () => (x, y) =>
    [2, 3, 5, 8, 12].reduce(
      (total, sigma, k) => total + 0.5 * bump(x, y, 14 + 24 * k, 38, sigma) - 0.5 * bump(x, y, 110 - 24 * k, 92, sigma),
      0.5,
    ),
  texture: () => {
    const random = noise(7);
    const layers = [2, 4, 8, 16, 32].map((cell) => {
      const side = PICTURE_SIDE / cell + 2;
      const values = Float64Array.from({ length: side * side }, random);
      return (x, y) => {
        const [a, b] = [Math.floor(x / cell), Math.floor(y / cell)];
        const [u, v] = [x / cell - a, y / cell - b];
        const at = (i, j) => values[(b + j) * side + a + i];
        return (1 - v) * ((1 - u) * at(0, 0) + u * at(1, 0)) + v * ((1 - u) * at(0, 1) + u * at(1, 1));
      };
    });
    return (x, y) => layers.reduce((total, layer) => total + layer(x, y) / layers.length, 0);
  },
};

export const PICTURES = Object.keys(GENERATED);

export function picture(name) {
  const value = GENERATED[name]();
  return Float64Array.from({ length: PICTURE_SIDE ** 2 }, (_, i) =>
    value(i % PICTURE_SIDE, Math.floor(i / PICTURE_SIDE)),
  );
}

/* The middle square of a picture of the reader, in grey. */
export async function pictureFrom(file) {
  const bitmap = await createImageBitmap(file);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = PICTURE_SIDE;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const side = Math.min(bitmap.width, bitmap.height);
  const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  context.drawImage(bitmap, left, top, side, side, 0, 0, PICTURE_SIDE, PICTURE_SIDE);
  const { data } = context.getImageData(0, 0, PICTURE_SIDE, PICTURE_SIDE);
  return Float64Array.from(
    { length: PICTURE_SIDE ** 2 },
    (_, i) => (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255,
  );
}

/* The response of a kernel as networks compute it, a correlation; pixels beyond the border are those at it. A kernel
   of three axes sees the same picture in every slice, one of one axis one row. */
export function response(values, kernel, size) {
  const cols = size.at(-1);
  const rows = size.at(-2) ?? 1;
  const height = size.length > 1 ? PICTURE_SIDE : 1;
  const first = size.length > 1 ? 0 : ROW;
  const inside = (place) => Math.min(Math.max(place, 0), PICTURE_SIDE - 1);
  const out = new Float64Array(PICTURE_SIDE * height);
  for (let tap = 0; tap < kernel.length; tap++) {
    const weight = kernel[tap];
    const down = Math.floor((tap % (rows * cols)) / cols) - ((rows - 1) >> 1);
    const right = (tap % cols) - ((cols - 1) >> 1);
    for (let y = 0; y < height; y++) {
      const line = inside(first + y + down) * PICTURE_SIDE;
      for (let x = 0; x < PICTURE_SIDE; x++) out[y * PICTURE_SIDE + x] += weight * values[line + inside(x + right)];
    }
  }
  return { values: out, rows: height, cols: PICTURE_SIDE };
}
