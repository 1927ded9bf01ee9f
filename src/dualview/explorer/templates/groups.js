// Groups of paths: all that pass the same channels, at any positions, with their shares.

function renderGroups() {
  const { groups, starts, total } = currentOutput();
  if (!currentOutput().paths.anywhere) {
    $("groups").replaceChildren(element("p", {}, "The paths of this network cannot be followed; see the note at the top."));
    return;
  }
  if (!groups) {
    $("groups").replaceChildren(element("p", {}, starts.input === 0
      ? "No path from the image adds anything."
      : "There are no groups: products along the paths are beyond what double precision holds."));
    return;
  }
  state.group = 0;
  const paths = groups.list.map(([value, stops], i) => ({
    part: value, sign: 1, place: i, stops: stops.map(([column, channel]) => groupStop(column, channel)),
  }));
  const holder = element("div", { class: "graph", tabindex: 0, role: "region", "aria-label": "Graph of the groups" });
  $("groups").replaceChildren(
    element("p", { class: "sum-line" }, ...groupsText(groups, starts, total)),
    element("ol", { class: "tiles groups", "aria-label": "Groups of paths" }, ...paths.map((group) => groupTile(group, groups, total))),
    holder);
  drawGraph("groups", holder, paths, chooseGroup);
  chooseGroup(0);
}

function groupsText(groups, starts, total) {
  const count = groups.list.length;
  const these = count === 1 ? "The group shown adds " : `The ${count} groups shown add `;
  const which = groups.proven
    ? (count === 1 ? "; it is the strongest there is." : "; they are the strongest there are.")
    : groups.others === null
      ? "; they are the strongest that were found."
      : `; they are the strongest that were found, and no other exceeds ${number(groups.others)}.`;
  return [
    `Of ${logitOf(currentOutput())}, ${number(total)}, all paths from the image add `, part(starts.input),
    ` (${signedPercent(starts.input, total)}), those from biases `, part(starts.biases), ` (${signedPercent(starts.biases, total)}). `,
    these, part(groups.sum), ` (${signedPercent(groups.sum, total)})`, which,
    " Shares are of the whole; groups of the other sign take away, so that one alone can be more than all.",
  ];
}

/** A share with its sign, as of sums whose parts may cancel. */
function signedPercent(value, whole) {
  if (whole === 0) return "no share of 0";
  const share = (100 * value) / whole;
  const size = Math.abs(share);
  if (size >= 1e5) return `${number(share)} %`;
  const text = size === 0 ? "0" : size < 0.001 ? "< 0.001" : size >= 10 ? Math.round(size).toLocaleString("en") : size.toPrecision(2);
  return `${share < 0 ? "−" : ""}${text} %`;
}

function groupStop(column, channel) {
  const last = data.layers.length + 1;
  if (column === last) {
    const { output, against } = currentOutput();
    const short = against === null ? shortened(className(output)) : "lead";
    return { column, key: "output", short, name: targetName({ output, against }) };
  }
  if (column === 0) {
    const colour = data.input[0] === 3 ? ["red", "green", "blue"][channel] : data.input[0] === 1 ? "image" : `channel ${channel}`;
    return { column, key: `${channel}`, short: colour, name: `${colour}, all pixels` };
  }
  const layer = Number.isInteger(column) ? data.layers[column - 1] : null;
  const name = layer ? `${layer.name}, ${unitKind(layer)} ${channel}` : `a layer without gates, channel ${channel}`;
  return { column, key: `${channel}`, short: `${channel}`, name };
}

const routeOf = (stops) => stops.map((stop) => stop.short).join(" › ");

function groupTile({ part: value, stops, place }, groups, total) {
  const route = routeOf(stops.slice(0, -1));
  return element("li", {},
    element("button", {
      type: "button", class: "unit", "aria-pressed": "false", "data-group": place, title: stops.map((stop) => stop.name).join(" › "),
      onclick: () => chooseGroup(place),
      onfocus: () => graphs.groups?.light(place), onblur: () => graphs.groups?.light(null),
      onpointerenter: () => graphs.groups?.light(place), onpointerleave: () => graphs.groups?.light(null),
    },
    element("strong", {}, signedPercent(value, total)),
    picture(groups.starts, place, "Where in the image its paths begin: red pixels add, blue ones take"),
    part(value), element("span", { class: "route" }, route)));
}

function chooseGroup(place) {
  state.group = place;
  graphs.groups.choose(place);
  document.querySelectorAll("[data-group]").forEach((tile) =>
    tile.setAttribute("aria-pressed", String(Number(tile.dataset.group) === place)));
}
