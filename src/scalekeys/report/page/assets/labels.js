/* Texts of figures: labels with a little markup, and their widths. */

const NAMESPACE = "http://www.w3.org/2000/svg";
export const LABEL = 11;
export const TITLE = 12;

export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* Text with the markup of labels, b, sub, br and coloured spans, as a list of lines of styled pieces. */
export function pieces(text) {
  const lines = [[]];
  const walk = (node, style) => {
    for (const child of node.childNodes) {
      const tag = child.nodeName.toLowerCase();
      if (tag === "#text") lines.at(-1).push({ text: child.data, ...style });
      else if (tag === "br") lines.push([]);
      else
        walk(child, {
          ...style,
          bold: style.bold || tag === "b",
          sub: tag === "sub",
          colour: child.style?.color || style.colour,
        });
    }
  };
  walk(new DOMParser().parseFromString(String(text), "text/html").body, {});
  return lines;
}

export function label(text, x, y, attributes = {}) {
  const element = svg("text", { x, y, ...attributes });
  let lowered = 0;
  for (const piece of pieces(text)[0]) {
    const shift = (piece.sub ? 3 : 0) - lowered;
    lowered += shift;
    const part = svg(
      "tspan",
      {
        "font-weight": piece.bold ? 600 : undefined,
        "font-size": piece.sub ? "75%" : undefined,
        dy: shift || undefined,
      },
      piece.text,
    );
    if (piece.colour) part.style.fill = piece.colour;
    element.append(part);
  }
  return element;
}

/* The width of a label in pixels. */
let ruler = null;
export function widthOf(text, size) {
  ruler ??= document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily;
  return pieces(text)[0].reduce((total, piece) => {
    ruler.font = `${piece.bold ? 600 : 400} ${piece.sub ? 0.75 * size : size}px ${family}`;
    return total + ruler.measureText(piece.text).width;
  }, 0);
}
