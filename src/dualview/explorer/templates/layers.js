// What each layer adds, its gates, and the filters behind them.

const LONG = 12;
/** Parts of the logit by layer, with names. */
const layerParts = () =>
  currentOutput().layers.map(([adding, taking, skips, biases, channels]) => ({ adding, taking, skips, biases, channels }));
/** "gate 3", and beside it what the user's model calls the layer that it multiplies. */
const layerName = (layer) => [layer.name, moduleName(layer)];
const moduleName = ({ module }) => (module ? element("span", { class: "module", title: `${module}, in the model` }, ` ${module}`) : null);
const sumOf = (layer) => layer.adding + layer.taking + layer.skips + layer.biases;

function renderLayers() {
  const { total } = currentOutput();
  const layers = layerParts();
  const skips = layers.some((layer) => layer.skips !== 0);
  const columns = [
    ["adding", "units that add"],
    ["taking", "units that take"],
    ...(skips ? [["skips", "skips"]] : []),
    ["biases", "biases behind it"],
  ];
  const all = layers.flatMap((layer) => columns.map(([key]) => layer[key]));
  const [low, high] = [Math.min(0, total, ...all), Math.max(0, total, ...all)];
  const rows = layers.map((layer, i) =>
    element("tr", {},
      element("th", { scope: "row" }, ...layerName(data.layers[i])),
      element("td", { class: "drawn" }, bar(columns.map(([key]) => [layer[key], key]), low, high, total)),
      ...columns.map(([key, name]) => element("td", { class: "number", "data-label": name }, number(layer[key]))),
      element("td", { class: "number", "data-label": "sum" }, element("strong", {}, number(sumOf(layer), 5)))));
  const heads = columns.map(([key, name]) =>
    element("th", { class: "number", scope: "col" }, element("span", { class: `key ${key}` }), name));
  const off = Math.max(...layers.map((layer) => Math.abs(sumOf(layer) - total)));
  $("layers").replaceChildren(
    element("div", { class: layers.length > LONG ? "scroll stack layers long" : "scroll stack layers", tabindex: 0, role: "region", "aria-label": "What each layer adds" },
      element("table", {},
        element("thead", {}, element("tr", {},
          element("th", { scope: "col" }, "Layer"), element("th", { "aria-hidden": "true" }), ...heads,
          element("th", { class: "number", scope: "col" }, "sum"))),
        element("tbody", {}, ...rows))),
    element("p", { class: "small" },
      `Dotted: ${logitOf(currentOutput())}, ${number(total, 5)}. `,
      off ? `The sums are off by at most ${number(off, 1)}: rounding.` : "The sums are equal to it."),
  );
}

// --------------------------------------------------------------------------------------- gates

const OPEN_LAYERS = 6;
const isDense = (layer) => layer.shape.length === 1;
const unitKind = (layer) => (isDense(layer) ? "unit" : "channel");

function renderGates() {
  const units = data.layers.every(isDense) ? "units" : "channels";
  const filters = data.layers.some((layer) => layer.filters);
  const colours = data.input[0] === 3
    ? "grey is 0, and more red than grey asks for red"
    : "red for more and blue for less";
  $("gates-how").textContent =
    `Shown are the ${units} that matter most, by what the paths through them add` +
    (filters ? `, each with its filter: the pixels that open its gates, ${colours}, on one scale a layer` : "") +
    (data.layers.some((layer) => layer.units?.reading?.percent.some((share) => share < READABLE))
      ? "; pale ones are no pictures to read, since no few pixels explain what they do. " : ". ") +
    "Choose one to see more.";
  const open = [...$("gates").children].map((node) => node.open);
  $("gates").classList.toggle("many", data.layers.length > LONG);
  $("gates").replaceChildren(...data.layers.map((layer, i) => layerGates(layer, i, open[i])));
}

function layerGates(layer, i, open) {
  const parts = layerParts()[i];
  const { on, nearest } = current().gates;
  const rest = parts.channels.reduce((sum, [, value]) => sum - value, parts.adding + parts.taking);
  const about = element("div", { role: "status" });
  const tiles = parts.channels
    .map((channel, j) => [channel, j])
    .sort(([[, a]], [[, b]]) => Math.abs(b) - Math.abs(a))
    .map(([channel, j]) => unitTile(i, j, channel, about));
  const dense = isDense(layer);
  const few = data.layers.length <= OPEN_LAYERS;
  const size = dense
    ? `${layer.shape[0]} units`
    : `${layer.shape[0]} channels of ${layer.shape.slice(1).join(" × ")}`;
  const mean = gateMap(i, 0, dense ? `All gates of ${layer.name}` : `${layer.name}, mean over channels`);
  if (dense) mean.classList.add("strip");
  const first = dense ? null : element("div", { class: "mean" }, mean, "mean of all");
  return element("details", { class: "layer", open: open ?? (few || i === data.layers.length - 1) },
    element("summary", {},
      few || dense ? null : element("span", { class: "mini" }, gateMap(i, 0, "")),
      element("strong", {}, layer.name), moduleName(layer), `${size}, ${percent(on[i])} open` + nearestText(nearest[i])),
    dense ? mean : null,
    element("div", { class: "tiles" }, first, ...tiles),
    parts.channels.length < layer.shape[0]
      ? element("p", { class: "small" }, `All other ${unitKind(layer)}s of this layer together: `, part(rest), ".")
      : null,
    about);
}

function nearestText(distance) {
  return distance === null ? "" : `; the nearest gate would switch at distance ${number(distance, 2)} (${data.pixels})`;
}

/** A gate map of a layer: number 0 is the mean over channels, then come the channels shown. */
function gateMap(layer, number, label) {
  const { sheets, places } = current().gates;
  const [sheet, first] = places[layer];
  return picture(sheets[sheet], first + number, label, true);
}

/** A channel's gate map and filter, as a button that tells more. */
function unitTile(i, j, [channel, value, ...more], about) {
  const layer = data.layers[i];
  return unitButton(i, channel, part(value), about, () => unitCard(i, channel, { value, more }, about),
    true, isDense(layer) ? null : gateMap(i, 1 + j, ""));
}

/**
 * A button for a unit, with its filter, or, of many examples, with what opens it; pressed, it fills
 * `about` with its card.
 */
function unitButton(i, channel, words, about, card, local = false, map = null) {
  const layer = data.layers[i];
  const at = filterPlace(layer, channel);
  const press = ({ currentTarget }) => {
    const pressed = currentTarget.getAttribute("aria-pressed") === "true";
    for (const other of currentTarget.parentElement.querySelectorAll(".unit")) other.setAttribute("aria-pressed", "false");
    currentTarget.setAttribute("aria-pressed", String(!pressed));
    about.replaceChildren(...(pressed ? [] : [card()]));
  };
  return element("button", { type: "button", class: "unit", "aria-pressed": "false", onclick: press },
    map,
    at < 0 ? null : local ? filterPicture(layer, channel, "") : patternPicture(layer, channel, ""),
    element("span", {}, `${unitKind(layer)} ${channel}`), words);
}

const filterPlace = (layer, channel) => (layer.filters ? layer.filters.channels.indexOf(channel) : -1);

/** How often a channel is on, a bar for each class; the true class of the example shown may be marked. */
function ratesByClass({ rates, shape }, channel, marked) {
  const shares = rates.percent[rates.channels.indexOf(channel)];
  if (!shares) return null;
  const rows = shownClasses(current()).flatMap((label) => [
    element("span", { class: "name" }, className(label) + (marked && label === current().label ? " ✓" : "")),
    bar([[shares[label] ?? 0, "chosen"]], 0, 100),
    element("span", { class: "value" }, shares[label] === null ? "–" : `${shares[label]} %`),
  ]);
  const what = shape.length === 1 ? "How often it is on" : "How often it is on, mean over positions";
  return element("div", { class: "rates" },
    element("p", {}, `${what}, by class:`), element("div", { class: "rows logits" }, ...rows));
}

function filterText(filters, at, place, interior) {
  const reads =
    `It reads ${data.pixels}; its largest weight is ${number(filters.largest[at])}, its offset ` +
    `${number(filters.offsets[at])}.` +
    (filters.drawn > 1 ? ` It is drawn with ${filters.drawn} × ${filters.drawn} pixels averaged into one.` : "");
  if (filters.kind === "input") return `q is this filter times the image, plus the offset. ${reads}`;
  if (filters.kind === "place") {
    return `Drawn is the filter of the gate at ${placeText(filters.place)}; the others differ, since the image ends. ${reads}`;
  }
  const border = interior ? "" : ` The gate at ${placeText(place)} is so near the border that a part of it is cut off.`;
  return `Every gate of the channel has this filter of ${filters.size.join(" × ")} pixels, at its own place.${border} ${reads}`;
}

/** The image, with a frame around the pixels that the gate at `place` sees. */
function receptiveField(filters, place) {
  const [top, left] = place.map((p, axis) => filters.stride[axis] * p + filters.first[axis]);
  return element("div", { class: "seen clip" },
    picture(data.images, state.example, "The image; a frame around the pixels that the gate sees"),
    frame(top, left, ...filters.size, data.input.slice(1)));
}
