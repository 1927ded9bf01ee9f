// The graph of paths: a column for the input, each gated layer and the output.

const GAP = 34;
const NARROWEST = 50;
const EDGE = 38;
const TOP = 52;

/**
 * Draw paths. A path has a `part` and `stops` {column, key, short, name, bias}; stops of one column
 * and key are one node. Nodes stand in the order of the strongest path through them.
 *
 * Returns the element, and `choose(i)` and `light(i or null)`, which light a path for good, or as
 * long as a pointer is over it.
 */
function pathGraph(paths, columns, width, select) {
  const step = Math.max(NARROWEST, (width - 2 * EDGE) / (columns.length - 1));
  const nodes = placed(paths, step);
  const height = Math.max(...[...nodes.values()].map(({ y }) => y)) + 20;
  const total = 2 * EDGE + step * (columns.length - 1);
  const graph = svg("svg", {
    width: total, height, viewBox: `0 0 ${total} ${height}`, role: "img",
    "aria-label": `${paths.length} paths over ${columns.length} columns, listed below`,
  });
  columns.forEach((name, i) => graph.append(text(EDGE + step * i, 16, name, "column")));
  const largest = Math.max(...paths.map((path) => logSize(path.part)));
  const lines = paths.map((path, i) => {
    const beside = (9 * (2 * i - paths.length + 1)) / (2 * paths.length);
    const d = curve(path.stops.map((stop) => nodes.get(nodeKey(stop))), beside);
    const kind = `line ${isNegative(path.part) ? "takes" : "adds"}`;
    const line = svg("path", { d, class: kind, "stroke-width": 0.8 + 3.2 * 10 ** (logSize(path.part) - largest) });
    const hit = svg("path", {
      d, class: "hit", "data-path": i, onclick: () => select(i),
      onpointerenter: () => light(i), onpointerleave: () => light(null),
    });
    return { line, hit, keys: new Set(path.stops.map(nodeKey)) };
  });
  const marks = [...nodes].map(([key, { x, y, stop }]) => {
    const shape = stop.bias
      ? svg("path", { class: "node", d: `M${x - 5},${y}l5,-5l5,5l-5,5z` })
      : svg("circle", { class: "node", cx: x, cy: y, r: 4.5 });
    shape.append(svg("title", {}, stop.name));
    return { key, parts: [shape, text(x, y - 9, stop.short)] };
  });
  graph.append(
    ...lines.map(({ line }) => line).reverse(),
    ...marks.flatMap(({ parts }) => parts),
    ...lines.map(({ hit }) => hit).reverse(),
  );
  let chosen = 0;
  function light(i) {
    const lit = i ?? chosen;
    lines.forEach(({ line }, j) => {
      line.classList.toggle("lit", j === lit);
      line.classList.toggle("dim", j !== lit && i !== null);
    });
    for (const { key, parts } of marks) {
      for (const node of parts) node.classList.toggle("lit", lines[lit].keys.has(key));
    }
  }
  function choose(i) {
    chosen = i;
    light(null);
  }
  choose(0);
  return { graph, choose, light };
}

const nodeKey = (stop) => `${stop.column} ${stop.key}`;

function text(x, y, words, kind = null) {
  return svg("text", { x, y, class: kind, "text-anchor": "middle" }, words);
}

/** Where every node stands: {x, y, stop} by its key. */
function placed(paths, step) {
  const rows = new Map();
  const nodes = new Map();
  for (const stop of paths.flatMap((path) => path.stops)) {
    if (nodes.has(nodeKey(stop))) continue;
    const row = rows.get(stop.column) ?? 0;
    rows.set(stop.column, row + 1);
    nodes.set(nodeKey(stop), { x: EDGE + step * stop.column, y: TOP + GAP * row, stop });
  }
  return nodes;
}

/** A smooth line through places, shifted down a little so that no other lies on it. */
function curve(places, beside) {
  const [first, ...rest] = places;
  let d = `M${first.x},${first.y + beside}`;
  let before = first;
  for (const { x, y } of rest) {
    const middle = (x + before.x) / 2;
    d += `C${middle},${before.y + beside} ${middle},${y + beside} ${x},${y + beside}`;
    before = { x, y };
  }
  return d;
}
