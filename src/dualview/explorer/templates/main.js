"use strict";
document.body.classList.remove("no-script");

{% include "explorer/parts.js" %}

{% include "explorer/graph.js" %}

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
/** What is chosen; everything on the page follows from this and the data. */
const state = { example: 0, output: 0, beginning: "input", path: 0, group: 0 };

const current = () => data.examples[state.example];
const currentOutput = () => current().outputs[state.output];
const className = (label) => data.classes[label];
const predicted = (example) => example.outputs[0].output;
/** What is explained, in words: a class, or one less another. */
const targetName = ({ output, against }) =>
  against === null ? className(output) : `${className(output)} − ${className(against)}`;
const logitOf = ({ output, against }) =>
  `the logit of ${className(output)}` + (against === null ? "" : ` less that of ${className(against)}`);
const title = (example) => `${data.split} example ${example.row}`;

/** How far the largest logit is above the true class's, or, where that is the largest, above the next. */
function margin({ logits, label }) {
  const others = logits.filter((_, i) => i !== label);
  return others.length ? logits[label] - Math.max(...others) : 0;
}

// ---------------------------------------------------------------------------- choose an example

const tiles = [];

function makeChoice() {
  for (const name of ["class", "predicted"]) {
    $(name).append(element("option", { value: "" }, "all"));
    data.classes.forEach((name_, i) => $(name).append(element("option", { value: i }, name_)));
  }
  data.examples.forEach((example, i) => {
    const wrong = predicted(example) !== example.label;
    const words = wrong ? [className(predicted(example)), `≠ ${className(example.label)}`] : [className(example.label)];
    const said =
      `Example ${example.row}: true ${className(example.label)}, predicted ${className(predicted(example))}`;
    tiles.push(
      element(
        "button",
        { type: "button", class: wrong ? "wrong" : null, tabindex: -1, "aria-label": said, title: said, onclick: () => show(i) },
        picture(data.images, i, ""),
        ...words.map((line) => element("span", { class: "words" }, line)),
      ),
    );
  });
  $("filter").addEventListener("input", filter);
  filter();
}

/** Examples in the order in which they stand. */
function inOrder() {
  const order = tiles.map((_, i) => i);
  const sign = { row: 0, least: 1, most: -1 }[$("order").value];
  const margins = data.examples.map(margin);
  return sign ? order.sort((a, b) => sign * (margins[a] - margins[b])) : order;
}

const visible = () => inOrder().filter((i) => !tiles[i].hidden);

function filter() {
  const is = (name, value) => $(name).value === "" || value === Number($(name).value);
  data.examples.forEach((example, i) => {
    const fits = is("class", example.label) && is("predicted", predicted(example));
    tiles[i].hidden = !fits || ($("wrong").checked && predicted(example) === example.label);
  });
  $("grid").replaceChildren(...inOrder().map((i) => tiles[i]));
  const shown = visible();
  const wrong = shown.some((i) => predicted(data.examples[i]) !== data.examples[i].label);
  $("shown").textContent =
    `${shown.length} of ${data.examples.length} examples` +
    (shown.length ? (wrong ? "; wrong ones: predicted ≠ true" : "") : `: none on this page is such; still shown is example ${current().row}`);
  if (shown.length && !shown.includes(state.example)) show(shown[0]);
  else markButton();
}

function markButton() {
  document.querySelectorAll("#overview .map [data-example]").forEach((mark) =>
    mark.classList.toggle("current", Number(mark.dataset.example) === state.example));
  tiles.forEach((button, i) => {
    const is = i === state.example;
    button.tabIndex = is ? 0 : -1;
    if (is) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  scrollGridTo(tiles[state.example]);
}

/** Scroll the grid, and not the page, to bring the button to its middle if it is out of sight. */
function scrollGridTo(button) {
  const [grid, box] = [$("grid").getBoundingClientRect(), button.getBoundingClientRect()];
  const bottom = Math.min(grid.bottom, innerHeight);
  const inSight = box.top >= grid.top && box.bottom <= bottom && box.left >= grid.left && box.right <= grid.right;
  if (inSight) return;
  $("grid").scrollBy(
    (box.left + box.right - grid.left - grid.right) / 2,
    (box.top + box.bottom - grid.top - Math.max(bottom, grid.top)) / 2,
  );
}

/** Go on by so many of the examples that the filter leaves. */
function step(by) {
  const shown = visible();
  if (!shown.length) return;
  const at = shown.indexOf(state.example);
  const next = at < 0 ? 0 : Math.min(Math.max(at + by, 0), shown.length - 1);
  show(shown[next]);
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (!(event.target instanceof Element) || event.target.closest("input, select, .graph, .scroll")) return;
  const inGrid = event.target.closest("#grid");
  const across = inGrid ? acrossGrid() : 0;
  const moves = { ArrowRight: 1, ArrowLeft: -1 };
  if (inGrid) Object.assign(moves, { ArrowDown: across, ArrowUp: -across, Home: -Infinity, End: Infinity });
  if (!(event.key in moves)) return;
  event.preventDefault();
  step(moves[event.key]);
  if (inGrid) tiles[state.example].focus();
}

/** How far the example below is: on a phone the grid fills column by column, so it is the next. */
function acrossGrid() {
  const style = getComputedStyle($("grid"));
  if (style.gridAutoFlow.startsWith("column")) return 1;
  return style.gridTemplateColumns.split(" ").length;
}

// ---------------------------------------------------------------------------------- one example

function show(i) {
  state.example = i;
  state.output = Math.min(state.output, current().outputs.length - 1);
  history.replaceState(null, "", `#${current().row}`);
  markButton();
  renderAll();
}

function renderAll() {
  renderHead();
  renderPrediction();
  resetDrawing();
  renderPlane();
  renderOutput();
}

/** What depends on the output that is explained. */
function renderOutput() {
  state.path = 0;
  renderStarts();
  renderLayers();
  renderGates();
  renderPaths();
  renderTraining();
}

function renderHead() {
  const example = current();
  const right = predicted(example) === example.label;
  const verdict = right
    ? [element("span", { class: "right-mark" }, "✓ "), `predicted ${className(example.label)}, rightly`]
    : [element("span", { class: "wrong-mark" }, "✗ "), `predicted ${className(predicted(example))}, true class ${className(example.label)}`];
  const role = (j) => (j === 0 ? "predicted" : j === 2 ? "what decides" : right ? "runner-up" : "true class");
  const radios = example.outputs.map((output, j) =>
    element(
      "label",
      {},
      element("input", {
        type: "radio", name: "output", value: j, checked: j === state.output,
        onchange: () => { state.output = j; renderOutput(); },
      }),
      `${targetName(output)} (${role(j)})`,
    ),
  );
  const name = title(example);
  $("h-example").textContent = name[0].toUpperCase() + name.slice(1);
  $("verdict").replaceChildren(...verdict);
  $("outputs").replaceChildren(element("legend", {}, "Explain the logit of"), ...radios);
}

{% include "explorer/prediction.js" %}

{% include "explorer/layers.js" %}

{% include "explorer/units.js" %}

{% include "explorer/planes.js" %}

{% include "explorer/groups.js" %}

{% include "explorer/paths.js" %}

{% include "explorer/training.js" %}

{% include "explorer/overview.js" %}

{% include "explorer/compute.js" %}

{% include "explorer/draw.js" %}

// ------------------------------------------------------------------------------------- begin

function fromAddress() {
  const at = data.examples.findIndex((example) => `#${example.row}` === location.hash);
  if (at >= 0 && at !== state.example) show(at);
}

makeChoice();
renderNetwork();
makeDrawing();
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
renderAll();
fromAddress();
document.addEventListener("keydown", onKey);
addEventListener("hashchange", fromAddress);
addEventListener("resize", redrawGraphs);
$("single").addEventListener("toggle", redrawGraphs);
