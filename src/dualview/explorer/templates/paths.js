// Single paths, folded: their graph, their list, and what the chosen one multiplies.

const COLOURS = ["R", "G", "B"];
/** What is drawn of groups, and of single paths. */
const graphs = { groups: null, single: null };

function renderPaths() {
  renderGroups();
  const lists = currentOutput().paths;
  $("single").hidden = !lists.anywhere;
  if (!lists.anywhere) return;
  if (!lists.input) state.beginning = "anywhere";
  const top = lists[state.beginning];
  const paths = top.list
    .map((path) => (Array.isArray(path) ? pathOf(path) : { ...path, sign: 1 }))
    .map((path) => ({ ...path, stops: path.stops.map(namedStop) }));
  const choice = beginnings(lists);
  if (!paths.length) {
    $("paths").replaceChildren(choice, element("p", {}, "None of them adds anything."));
    return;
  }
  const holder = element("div", { class: "graph", tabindex: 0, role: "region", "aria-label": "Graph of the paths" });
  $("paths").replaceChildren(
    choice,
    holder,
    element("div", { class: "below" },
      element("ol", { class: "list", "aria-label": "Paths" }, ...paths.map((path, i) => listed(path, i, paths))),
      element("div", { id: "chain" })),
    element("p", { class: "small" }, pathsText(top, paths)),
  );
  drawGraph("single", holder, paths, (i) => choosePath(i, paths));
  choosePath(state.path, paths);
}

/** A path of the difference: one of either output's, and those to the second count as subtracted. */
function pathOf([output, rank]) {
  const sign = output === 1 ? -1 : 1;
  const path = current().outputs[output].paths[state.beginning].list[rank];
  return { ...path, part: sign < 0 ? negative(path.part) : path.part, sign };
}

function beginnings(lists) {
  const radios = [["input", "at the input"], ["anywhere", "anywhere, biases too"]].map(([key, words]) =>
    element("label", {},
      element("input", {
        type: "radio", name: "beginning", value: key, checked: key === state.beginning, disabled: !lists[key],
        onchange: () => {
          state.beginning = key;
          state.path = 0;
          renderPaths();
          document.querySelector("input[name=beginning]:checked").focus();
        },
      }),
      words));
  return element("fieldset", {}, element("legend", {}, "Paths that begin"), ...radios);
}

function pathsText(top, paths) {
  return (
    `These ${paths.length} are the strongest of ${number(top.count)} paths. All together add ${number(top.total)}, ` +
    `while their sizes sum to ${number(top.magnitude)}: paths are many, and cancel. Of that sum these have ` +
    `${percent(top.share ?? 0)}.` +
    (data.layers.every(isDense) ? "" : " In the graph a dot is a channel; where it is on the map stands in the list.")
  );
}

/** A stop [column, unit, weight, gate] with its names; nodes are channels, at the input pixels. */
function namedStop([column, unit, weight, gate], i) {
  const last = data.layers.length + 1;
  const [channel, ...place] = unit;
  const pixel = column === 0 && place.length > 0;
  const bias = i === 0 && column !== 0;
  let short = `${channel}`;
  if (bias) short = "bias";
  else if (pixel) short = (data.input[0] === 3 ? COLOURS[channel] : "") + placeText(place).replace(" ", "");
  else if (column === last) short = shortened(className(channel));
  const key = pixel || (bias && place.length) ? unit.join() : `${channel}${bias ? " bias" : ""}`;
  const layer = Number.isInteger(column) && column > 0 && column < last ? data.layers[column - 1] : null;
  let name = short;
  if (bias) name = `bias of ${channel}${place.length ? ` at ${placeText(place)}` : ""}`;
  else if (column === last) name = className(channel);
  else if (column === 0) name = `pixel ${short.replace(",", ", ")}`;
  else if (layer) name = `${layer.name}, ${channel}${place.length ? ` at ${placeText(place)}` : ""}`;
  return { column, key, short, name, bias, weight, gate, place };
}

const shortened = (name) => (name.length > 12 ? `${name.slice(0, 11)}…` : name);

function listed(path, i, paths) {
  const route = path.stops.map((stop) => stop.short).join(" › ");
  return element("li", {},
    element("button", {
      type: "button", "aria-pressed": "false", "data-path": i, onclick: () => choosePath(i, paths),
      onfocus: () => graphs.single.light(i), onblur: () => graphs.single.light(null),
      onpointerenter: () => graphs.single.light(i), onpointerleave: () => graphs.single.light(null),
    }, part(path.part), element("span", { class: "route" }, route)));
}

function drawGraph(which, holder, paths, select) {
  const columns = ["input", ...data.layers.map((layer) => layer.name), "logit"];
  const drawn = pathGraph(paths, columns, holder.clientWidth, select);
  graphs[which] = { ...drawn, paths, holder, select, width: holder.clientWidth };
  holder.replaceChildren(drawn.graph);
}

/** Draw anew what has another width than it was drawn in; folded, it has none. */
function redrawGraphs() {
  for (const [which, chosen] of [["groups", state.group], ["single", state.path]]) {
    const graph = graphs[which];
    if (!graph || !graph.holder.clientWidth || graph.holder.clientWidth === graph.width) continue;
    drawGraph(which, graph.holder, graph.paths, graph.select);
    graphs[which].choose(chosen);
  }
}

/** Light a path, and list what it multiplies. */
function choosePath(i, paths) {
  state.path = i;
  graphs.single.choose(i);
  document.querySelectorAll(".list button").forEach((button, j) => button.setAttribute("aria-pressed", String(j === i)));
  const { stops, constants, sign, part: value } = paths[i];
  const factors = stops.flatMap((stop, j) => [
    [j === 0 ? stop.name : `weight into ${stop.name}`, stop.weight],
    [`gate of ${stop.name}`, stop.gate],
  ]);
  if (constants !== 1) factors.push(["averages and scales on its way", constants]);
  if (sign < 0) factors.push([`it leads to ${stops.at(-1).name}, which is subtracted`, -1]);
  const rows = factors
    .filter(([, factor]) => factor !== null)
    .map(([name, factor], j) => element("li", {}, element("span", {}, name), element("span", {}, `${j ? "× " : ""}${number(factor)}`)));
  $("chain").replaceChildren(
    element("div", { class: "chosen-path" },
      beginningsOnImage(paths, i),
      element("p", {}, element("strong", {}, "This path adds ", part(value)), rows.length > 1 ? `: the product of these ${rows.length} numbers.` : ".")),
    element("ol", { class: "chain", tabindex: 0, "aria-label": "What the path multiplies" }, ...rows),
  );
}

/** The image, with a frame around the pixels where the listed paths begin. */
function beginningsOnImage(paths, chosen) {
  const frames = paths.flatMap(({ stops }, i) => {
    const [{ column, place }] = stops;
    if (column !== 0 || place.length !== 2) return [];
    return [frame(...place, 1, 1, data.input.slice(1), i === chosen ? "pixel lit" : "pixel")];
  });
  if (!frames.length) return null;
  frames.sort((a, b) => a.classList.contains("lit") - b.classList.contains("lit"));
  return element("div", { class: "seen clip" },
    picture(data.images, state.example, "The image; frames around the pixels where the paths begin"), ...frames);
}
