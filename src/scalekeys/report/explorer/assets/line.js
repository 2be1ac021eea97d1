/* The line of Python that makes the kernel that is shown. */

/* A number with so many significant digits, and no more than it needs. */
export function tidy(value, digits = 7) {
  return value === Infinity ? "Infinity" : String(Number(value.toPrecision(digits)));
}

function numbers(values) {
  return `[${values.map((value) => (value === Infinity ? "torch.inf" : tidy(value))).join(", ")}]`;
}

function tensor(text) {
  return `torch.tensor(${text}, dtype=torch.float64)`;
}

export function pythonLine(family, parameters, size, { coefficients, offset }) {
  const sides = `(${size.join(", ")}${size.length === 1 ? "," : ""})`;
  const rest = offset < 0 ? `- ${tidy(-offset)}` : `+ ${tidy(offset)}`;
  const name = family.mixture ? `jet${highest(family)}` : family.name;
  const variances = parameters.map((value, k) => (family.parameters[k].startsWith("t") ? value ** 2 : value));
  const plan = `sk.scalespace.template_plan("${name}", ${sides})(${tensor(`[${numbers(variances)}]`)})`;
  if (family.mixture) return `torch.tensordot(${tensor(numbers(coefficients))}, ${plan}[0], 1) ${rest}`;
  const [amplitude] = coefficients;
  if (family.kind === "oriented") return `${tidy(amplitude)} * ${plan}[0, 0] ${rest}`;
  const scales = family.kind === "strength" ? size.map(() => parameters[0]) : parameters;
  const strength = family.kind === "strength" ? `, alpha=${tidy(parameters[1])}` : "";
  const template = `sk.scalespace.template("${family.name}", ${tensor(numbers(scales))}, ${sides}${strength})`;
  return `${tidy(amplitude)} * ${template} ${rest}`;
}

/* The order of the jet of which a mixture is: a sparse model takes few derivatives of one. */
function highest(family) {
  return family.terms ? 6 : Number(family.name.slice("jet".length));
}
