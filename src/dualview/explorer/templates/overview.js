// The network as a whole: its boxes, its classes, its confusions, and a map of the examples.

const MATRIX_CLASSES = 20;
const CLASS_UNITS = 12;

function renderNetwork() {
  if (!data.network) return;
  renderBoxes();
  data.network.classes.forEach((label) => $("one-class").append(element("option", { value: label }, className(label))));
  $("other-class").append(element("option", { value: "" }, "nothing"));
  data.network.classes.forEach((label) => $("other-class").append(element("option", { value: label }, className(label))));
  $("class-choice").addEventListener("input", renderClass);
  renderClass();
  $("overview").replaceChildren(confusions(), map());
}

// --------------------------------------------------------------------------------------- boxes

function renderBoxes() {
  const [channels, ...size] = data.input;
  const arrow = () => element("span", { class: "arrow", "aria-hidden": "true" }, "→");
  const box = (heading, ...lines) => element("span", { class: "box-text" },
    element("strong", {}, heading), ...lines.map((line) => element("span", { class: "small" }, line)));
  const gated = data.boxes.map(({ layers, shapes }) => {
    const [first, last] = [data.layers[layers[0]], data.layers[layers.at(-1)]];
    const one = layers.length === 1;
    const modules = one ? first.module : `${first.module} … ${last.module}`;
    const number_ = (layer) => layer.name.split(" ")[1];
    return element("li", {}, arrow(),
      element("button", { type: "button", class: "network-box", onclick: () => openLayer(layers[0]) },
        box(one ? first.name : `gates ${number_(first)}–${number_(last)}`, modules, shapes.join(", "))));
  });
  $("boxes").replaceChildren(
    element("ol", { class: "boxes" },
      element("li", {}, element("span", { class: "network-box" }, box("input", `${channels > 1 ? `${channels} × ` : ""}${size.join(" × ")}`, data.pixels))),
      ...gated,
      element("li", {}, arrow(), element("span", { class: "network-box" }, box("logits", `${data.classes.length} classes`)))),
    element("p", { class: "small" },
      "Each box: gates, the layer of the model that they multiply, and how many they are. Press one to see its gates for the example below."));
}

function openLayer(i) {
  const layer = $("gates").children[i];
  layer.open = true;
  layer.scrollIntoView();
  layer.querySelector("summary").focus({ preventScroll: true });
}

// --------------------------------------------------------------------------------------- a class

function renderClass() {
  const { classes, counts, logits, n } = data.network;
  const i = classes.indexOf(Number($("one-class").value));
  let j = $("other-class").value === "" ? null : classes.indexOf(Number($("other-class").value));
  if (j === i) {
    $("other-class").value = "";
    j = null;
  }
  const name = className(classes[i]);
  const other = j === null ? "all other classes" : className(classes[j]);
  const target = j === null ? `the logit of ${name}` : `the logit of ${name} less that of ${other}`;
  const lead = (row) => logits[row][i] - (j === null ? 0 : logits[row][j]);
  const rest = counts.reduce((sum, m, row) => (row === i ? sum : sum + m), 0);
  const away = j === null
    ? counts.reduce((sum, m, row) => (row === i ? sum : sum + m * lead(row)), 0) / (rest || 1)
    : lead(j);
  const open = [...$("class-units").querySelectorAll("details")].map((node) => node.open);
  $("class-units").replaceChildren(
    element("p", { class: "how" },
      `On the ${counts[i].toLocaleString("en")} examples of ${name}, of ${n.toLocaleString("en")} of the ${data.split} split, ${target} is on average `,
      element("strong", {}, number(lead(i))), `; on those of ${other}, `, element("strong", {}, number(away)),
      ". These units make the difference: what the paths through each add on average, and in grey what they add on the others." +
      (data.layers.some((layer) => layer.units.reading) ? ` Pictures: ${patternColours()} where the unit’s pre-activation q is high.` : "")),
    ...data.layers.map((_, layer) => classLayer(layer, i, j, open[layer])));
}

function classLayer(layer, i, j, open) {
  const its = data.layers[layer];
  const about = element("div", { role: "status" });
  const units = its.units.channels
    .map((channel, place) => ({ channel, parts: meanPart(its, place, i, j) }))
    .sort((a, b) => b.parts[0] - b.parts[1] - a.parts[0] + a.parts[1])
    .slice(0, CLASS_UNITS);
  const buttons = units.map(({ channel, parts: [own, others] }) =>
    unitButton(layer, channel,
      element("span", {}, part(own, 2), element("span", { class: "others" }, number(others, 2))),
      about, () => unitCard(layer, channel, null, about)));
  const few = data.layers.length <= OPEN_LAYERS;
  return element("details", { class: "layer", open: open ?? (few || layer === data.layers.length - 1) },
    element("summary", {}, element("strong", {}, its.name), moduleName(its)),
    element("div", { class: "tiles" }, ...buttons),
    about);
}

// -------------------------------------------------------------------------------------- confusion

function confusions() {
  const { confusion, n } = data.network;
  const right = confusion.reduce((sum, [i, j, count]) => (i === j ? sum + count : sum), 0);
  const heading = element("p", { class: "how" },
    `Of ${n.toLocaleString("en")} examples it takes ${right.toLocaleString("en")} for what they are (${percent(right / n)}). Choose a number to see its examples below.`);
  const table = data.classes.length <= MATRIX_CLASSES ? matrix(confusion) : mistakes(confusion);
  return element("div", {}, heading, table);
}

function matrix(confusion) {
  const size = data.classes.length;
  const counts = new Map(confusion.map(([i, j, count]) => [i * size + j, count]));
  const totals = data.classes.map((_, i) => data.classes.reduce((sum, _, j) => sum + (counts.get(i * size + j) ?? 0), 0));
  const cell = (i, j) => {
    const count = counts.get(i * size + j) ?? 0;
    if (!count) return element("td", {}, element("span", { class: "none" }, "·"));
    const said = `${count} of ${className(i)} taken for ${className(j)}`;
    const button = element("button", { type: "button", class: i === j ? "right" : "false", "aria-label": said, title: said, onclick: () => choosePair(i, j) }, count);
    button.style.setProperty("--share", `${Math.round(15 + (75 * count) / totals[i])}%`);
    return element("td", {}, button);
  };
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
    element("table", { class: "confusion" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "true ↓ taken for →"),
        ...data.classes.map((name) => element("th", { scope: "col" }, shortened(name))))),
      element("tbody", {}, ...data.classes.map((name, i) =>
        element("tr", {}, element("th", { scope: "row" }, shortened(name)), ...data.classes.map((_, j) => cell(i, j)))))));
}

/** Of many classes, the commonest mistakes. */
function mistakes(confusion) {
  const wrong = confusion.filter(([i, j]) => i !== j).sort((a, b) => b[2] - a[2]).slice(0, 40);
  if (!wrong.length) return element("p", {}, "It makes no mistake on them.");
  return element("ol", { class: "mistakes" }, ...wrong.map(([i, j, count]) =>
    element("li", {}, element("button", { type: "button", class: "neighbour", onclick: () => choosePair(i, j) },
      `${className(i)} for ${className(j)}: ${count}`))));
}

function choosePair(i, j) {
  $("class").value = i;
  $("predicted").value = j;
  $("wrong").checked = false;
  filter();
  $("choice").scrollIntoView();
}

// -------------------------------------------------------------------------------------- the map

const [MAP_WIDTH, MAP_HEIGHT, MAP_EDGE] = [560, 420, 16];

function map() {
  const { map: found } = data.network;
  if (!found) return element("p", { class: "small" }, "There is no map of the examples; see the notes at the top.");
  const [xs, ys] = [0, 1].map((axis) => found.places.map((place) => place[axis]));
  const scale = (values, low, high) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return (value) => low + ((high - low) * (value - least)) / (most - least || 1);
  };
  const x = scale(xs, MAP_EDGE, MAP_WIDTH - MAP_EDGE);
  const y = scale(ys, MAP_HEIGHT - MAP_EDGE, MAP_EDGE);
  const marks = data.examples.map((example, i) => {
    const name = className(example.label);
    const wrong = predicted(example) !== example.label;
    const at = { "data-example": i, class: wrong ? "wrong" : null, onclick: () => goTo(i) };
    const mark = name.length <= 2
      ? svg("text", { ...at, x: x(xs[i]), y: y(ys[i]) + 4, "text-anchor": "middle" }, name)
      : svg("circle", { ...at, cx: x(xs[i]), cy: y(ys[i]), r: 5 });
    mark.style.setProperty("--class-colour", `hsl(${Math.round((360 * example.label) / data.classes.length)} 65% var(--map-light))`);
    mark.append(svg("title", {}, `example ${example.row}: ${name}${wrong ? `, taken for ${className(predicted(example))}` : ""}`));
    return mark;
  });
  return element("figure", { class: "map" },
    svg("svg", { viewBox: `0 0 ${MAP_WIDTH} ${MAP_HEIGHT}`, role: "img", "aria-label": "Map of the examples by their path kernel; the grid below lists them" }, ...marks),
    element("figcaption", {},
      `The examples here by the network’s path kernel: its two largest principal components, with ${percent(found.spread[0])} and ${percent(found.spread[1])} of its variance. Colours are true classes; ringed or underlined ones are taken for another. Press one to see it.`));
}
