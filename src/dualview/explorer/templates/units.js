// A unit: when it opens, what it adds to each class, its neighbours, and how far its filter is read.

const READABLE = 50;

/** Of a unit that many examples have been asked about: its place in the layer's tables, or -1. */
const unitPlace = (layer, channel) => (layer.units ? layer.units.channels.indexOf(channel) : -1);

/** A filter's picture, pale where no few pixels explain what it does. */
function filterPicture(layer, channel, label) {
  const node = picture(layer.filters.images, filterPlace(layer, channel), label);
  const share = layer.units?.reading?.percent[unitPlace(layer, channel)];
  if (share !== undefined && share < READABLE) node.classList.add("pale");
  return node;
}

/** What is brighter where a unit is open; its filter, where that is not known. */
function patternPicture(layer, channel, label) {
  const place = unitPlace(layer, channel);
  const reading = layer.units?.reading;
  return reading && place >= 0 ? picture(reading.patterns, place, label) : filterPicture(layer, channel, label);
}

const patternColours = () =>
  (data.input[0] === 3 ? "what is brighter (lighter than grey) or darker" : "what is brighter (red) or darker (blue)");

/** All about a unit; `local` is what it does for the example shown: {value, more}, or null. */
function unitCard(i, channel, local, about) {
  const layer = data.layers[i];
  const [at, place] = [filterPlace(layer, channel), unitPlace(layer, channel)];
  const seen = [];
  if (local && at >= 0 && layer.filters.stride.length) seen.push(receptiveField(layer.filters, local.more[0]));
  if (at >= 0) {
    seen.push(element("figure", { class: "seen filter" }, filterPicture(layer, channel, "Its filter"),
      element("figcaption", {}, "its filter")));
  }
  const { reading } = layer.units ?? {};
  if (reading && place >= 0) {
    seen.push(element("figure", { class: "seen" }, picture(reading.patterns, place, "Where it is open"),
      element("figcaption", {}, `${patternColours()} where q is high`)));
  }
  return element("div", { class: "about" },
    element("div", { class: "pictures" }, ...seen),
    element("div", { class: "words" },
      element("p", {}, ...unitSentence(i, channel, local)),
      at >= 0 ? element("p", {}, filterText(layer.filters, at, local ? local.more[0] : [], !local || local.more[3])) : null,
      readingText(layer, place),
      place >= 0 ? neighbours(i, place, about) : null),
    ratesByClass(layer, channel, local !== null),
    place >= 0 ? partsByClass(layer, place) : null,
    place >= 0 ? extremes(layer, place) : null);
}

function unitSentence(i, channel, local) {
  const layer = data.layers[i];
  const name = [element("strong", {}, `${layer.name}, ${unitKind(layer)} ${channel}`), layer.module ? ` (of ${layer.module})` : ""];
  if (!local) return [...name, "."];
  const [place, gate, q, , distance] = local.more;
  const where = isDense(layer) ? "Its gate is" : `Its strongest position is ${placeText(place)}; the gate there is`;
  return [
    ...name, " adds ", part(local.value),
    ` to ${logitOf(currentOutput())}. ${where} ${number(gate)}, its pre-activation q ${number(q)}.`,
    distance === null ? "" : ` The image is ${number(Math.abs(distance))} away from switching it ${q > 0 ? "off" : "on"}, in ${data.pixels}.`,
  ];
}

function readingText(layer, place) {
  const { reading } = layer.units ?? {};
  if (!reading || place < 0) return null;
  const share = reading.percent[place];
  const largest = reading.largest === 1 ? "Its largest pixel explains" : `Its ${reading.largest} largest pixels explain`;
  return element("p", {},
    `${largest} ${share} % of the variance of q` +
    (share < READABLE ? ": do not read the filter as a picture; what opens it is spread over all of it." : "."));
}

/** Rows of numbers by class: what the unit adds to each on that class's examples, and on others'. */
function partsByClass(layer, place) {
  const own = data.network.classes.map((_, i) => meanPart(layer, place, i, null));
  const size = Math.max(...own.flat().map(Math.abs));
  const rows = data.network.classes.flatMap((label, i) => [
    element("span", { class: "name" }, className(label)),
    bar([[own[i][0], own[i][0] < 0 ? "takes" : "adds"]], -size, size),
    element("span", { class: "value" }, part(own[i][0], 2)),
    element("span", { class: "share" }, number(own[i][1], 2)),
  ]);
  return element("div", { class: "rates" },
    element("p", {}, "What it adds to each class on its examples; grey, on others’:"),
    element("div", { class: "rows logits shares" }, ...rows));
}

/**
 * Mean over examples of the i-th class of what a unit adds to its logit, less that of the j-th, and
 * the same over the examples of the j-th, or, where j is null, of all others.
 */
function meanPart(layer, place, i, j) {
  const { counts } = data.network;
  const [k, parts, step] = [counts.length, layer.units.parts[place], layer.units.step];
  const at = (row) => step * (parts[row * k + i] - (j === null ? 0 : parts[row * k + j]));
  if (j !== null) return [at(i), at(j)];
  const others = counts.reduce((sum, n, row) => (row === i ? sum : sum + n), 0);
  const sum = counts.reduce((total, n, row) => (row === i ? total : total + n * at(row)), 0);
  return [at(i), others ? sum / others : 0];
}

/** The images of the page that open the unit most, and those that close it most. */
function extremes(layer, place) {
  const { opens, closes, q } = layer.units;
  const row = (list, first, words) => element("div", {},
    element("p", { class: "small" }, words),
    element("div", { class: "strip-of-images" }, ...list[place].map((i, j) => {
      const said = `Example ${data.examples[i].row}, ${className(data.examples[i].label)}: q ${number(q[place][first + j])}`;
      return element("button", { type: "button", class: "thumb", "aria-label": said, title: said, onclick: () => goTo(i) },
        picture(data.images, i, ""), element("span", { class: "words" }, number(q[place][first + j], 2)));
    })));
  const where = isDense(layer) ? "" : ", at its largest position";
  return element("div", { class: "extremes" },
    row(opens, 0, `Images here that open it most, with q${where}`),
    row(closes, opens[place].length, "and that close it most"));
}

/** Show an example, and go to where it is shown. */
function goTo(i) {
  show(i);
  $("example").scrollIntoView();
}

/** Units before and behind whose paths through this one weigh most; a press shows theirs. */
function neighbours(i, place, about) {
  const row = (list, layer, words) => (list[place].length
    ? [element("dt", {}, words), element("dd", {}, ...list[place].map(([channel, value]) =>
        unitPlace(data.layers[layer], channel) >= 0
          ? element("button", {
              type: "button", class: "neighbour",
              onclick: () => {
                about.replaceChildren(unitCard(layer, channel, null, about));
                about.querySelector("button")?.focus();
              },
            }, `${channel} `, part(value, 2))
          : element("span", { class: "neighbour" }, `${channel} `, part(value, 2))))]
    : []);
  const { before, behind } = data.layers[i].units;
  const rows = [
    ...(i > 0 ? row(before, i - 1, data.layers[i - 1].name) : []),
    ...(i + 1 < data.layers.length ? row(behind, i + 1, data.layers[i + 1].name) : []),
  ];
  if (!rows.length) return null;
  return element("div", {},
    element("p", { class: "small" }, "Neighbours, by what paths through both add to the true class on average:"),
    element("dl", { class: "neighbours" }, ...rows));
}
