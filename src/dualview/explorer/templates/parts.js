// Small parts that know nothing of the page's state: elements, numbers, pictures, bars.

/** An HTML element: attributes, `on...` listeners, children (elements, texts, or null). */
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same in SVG. */
function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/**
 * A number with three digits or more, a true minus, and no exponent where it can be read. One beyond
 * the range of numbers here came as a text such as "-1.25000e+400".
 */
function number(value, digits = 3) {
  if (value === 0) return "0";
  if (typeof value === "string") {
    const [mantissa, power] = value.split("e+");
    return `${Number(mantissa).toPrecision(digits)} · 10${superscript(power)}`.replace("-", "−");
  }
  const size = Math.abs(value);
  let text;
  if (size >= 1e7) text = value.toExponential(digits - 1).replace("e+", " · 10^");
  else if (size < 1e-5) text = value.toExponential(digits - 1).replace("e", " · 10^");
  else if (size >= 1000) text = Math.round(value).toLocaleString("en");
  else text = value.toPrecision(digits);
  return text.replace(/-/g, "−").replace(/\^−?\d+/, (power) => superscript(power.slice(1)));
}

const isNegative = (value) => (typeof value === "string" ? value.startsWith("-") : value < 0);

function negative(value) {
  if (typeof value !== "string") return -value;
  return isNegative(value) ? value.slice(1) : `-${value}`;
}

/** The decimal logarithm of a number's size, also of one that came as a text. */
function logSize(value) {
  if (typeof value !== "string") return Math.log10(Math.abs(value));
  const [mantissa, power] = value.split("e+");
  return Math.log10(Math.abs(Number(mantissa))) + Number(power);
}

function superscript(power) {
  return [...power].map((sign) => (sign === "−" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("");
}

/** A part of a sum, with its sign and colour. */
function part(value, digits = 3) {
  const sign = value === 0 || isNegative(value) ? "" : "+";
  return element("span", { class: isNegative(value) ? "minus" : "plus" }, sign + number(value, digits));
}

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

/** "(3, 4)" of a place; of one number, that number; of none, nothing. */
function placeText(place) {
  if (!place.length) return "";
  return place.length === 1 ? `${place[0]}` : `(${place.join(", ")})`;
}

// ---------------------------------------------------------------------------------- pictures

const addresses = new Map();

/** A short address for a PNG of the page's data, so that many elements can share it. */
function address(png) {
  if (!addresses.has(png)) {
    const bytes = Uint8Array.from(atob(png.slice(png.indexOf(",") + 1)), (c) => c.charCodeAt(0));
    addresses.set(png, URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
  }
  return addresses.get(png);
}

/**
 * One picture of a sprite; with `mask`, the page's ink through the sprite's opacity. In the sprite
 * every picture has a margin of one pixel, which is not shown.
 */
function picture(sprite, index, label, mask = false) {
  const { across, count, width, height } = sprite;
  const down = Math.ceil(count / across);
  const scale = (of, size) => (100 * of * (size + 2)) / size;
  const place = (at, of, size) => (100 * (at * (size + 2) + 1)) / (of * (size + 2) - size);
  const what = mask ? "mask" : "background";
  const sheet = (node) => {
    node.style[`${what}Image`] = `url("${address(sprite.png)}")`;
    node.style[`${what}Size`] = `${scale(across, width)}% ${scale(down, height)}%`;
    node.style[`${what}Position`] =
      `${place(index % across, across, width)}% ${place(Math.floor(index / across), down, height)}%`;
    return node;
  };
  const hidden = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  const node = element("span", { class: mask ? "picture mask" : "picture", ...hidden });
  node.style.aspectRatio = `${width} / ${height}`;
  if (mask) node.append(sheet(element("span")));
  return mask ? node : sheet(node);
}

/** A frame around `height` x `width` pixels of an image of `rows` x `columns`, in per cent. */
function frame(top, left, height, width, [rows, columns], kind = "box") {
  const box = element("span", { class: kind });
  box.style.top = `${(100 * top) / rows}%`;
  box.style.left = `${(100 * left) / columns}%`;
  box.style.height = `${(100 * height) / rows}%`;
  box.style.width = `${(100 * width) / columns}%`;
  return box;
}

// -------------------------------------------------------------------------------------- bars

/** Bars from 0 on one scale: `values` [[value, class]], and a dotted line at `mark`. */
function bar(values, low, high, mark = null) {
  const at = (value) => (100 * (value - low)) / (high - low || 1);
  const node = element("div", { class: "bar", "aria-hidden": "true" });
  node.style.setProperty("--zero", `${at(0)}%`);
  for (const [value, kind] of values) {
    const one = element("i", { class: kind });
    one.style.left = `${at(Math.min(0, value))}%`;
    one.style.width = `${(100 * Math.abs(value)) / (high - low || 1)}%`;
    node.append(one);
  }
  if (mark !== null) {
    const line = element("b");
    line.style.left = `${at(mark)}%`;
    node.append(line);
  }
  return node;
}
