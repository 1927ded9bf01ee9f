// Draw and erase: the example as it is drawn upon, and what the network makes of it.

const drawing = { program: null, pixels: null, before: null, value: 1, at: [0, 0] };

function makeDrawing() {
  if (!data.program) {
    $("drawing").replaceChildren(element("p", {}, "This page cannot compute the network itself; see the notes at the top."));
    return;
  }
  drawing.program = compiled(data.program);
  const [, rows, columns] = data.input;
  const canvas = element("canvas", {
    width: columns, height: rows, tabindex: 0, class: "paper scroll", role: "application",
    "aria-label": "The image: paint with the pointer; arrow keys move, space paints",
    onpointerdown: (event) => { canvas.setPointerCapture(event.pointerId); paintAt(event); },
    onpointermove: (event) => { if (event.buttons) paintAt(event); },
    onkeydown: paintByKey,
  });
  const brush = (value, words) => element("label", {},
    element("input", { type: "radio", name: "brush", value, checked: value === drawing.value, onchange: () => { drawing.value = value; } }), words);
  $("drawing").replaceChildren(
    element("div", { class: "drawing" },
      element("div", {},
        canvas,
        element("fieldset", {}, element("legend", {}, "Paint"), brush(1, "white"), brush(0.5, "grey"), brush(0, "black")),
        element("p", {},
          element("button", { type: "button", class: "plain", onclick: resetDrawing }, "As it was"), " ",
          element("button", { type: "button", class: "plain", onclick: () => { drawing.pixels.fill(0); renderDrawing(); } }, "All black"))),
      element("div", { id: "drawn", role: "status" })));
}

const paper = () => document.querySelector(".paper");

function resetDrawing() {
  if (!drawing.program) return;
  const size = data.input.reduce((a, b) => a * b);
  drawing.pixels = drawing.program.images.slice(state.example * size, (state.example + 1) * size);
  drawing.before = runProgram(drawing.program, drawing.pixels, data.input);
  renderDrawing();
}

function paintAt(event) {
  const box = paper().getBoundingClientRect();
  const [, rows, columns] = data.input;
  paint(Math.floor((rows * (event.clientY - box.top)) / box.height), Math.floor((columns * (event.clientX - box.left)) / box.width));
}

function paintByKey(event) {
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (event.key in moves) {
    const [, ...sizes] = data.input;
    drawing.at = drawing.at.map((place, axis) => Math.min(Math.max(place + moves[event.key][axis], 0), sizes[axis] - 1));
    renderPaper(true);
  } else if (event.key === " ") paint(...drawing.at);
  else return;
  event.preventDefault();
}

function paint(row, column) {
  const [channels, rows, columns] = data.input;
  if (row < 0 || column < 0 || row >= rows || column >= columns) return;
  for (let c = 0; c < channels; c++) drawing.pixels[(c * rows + row) * columns + column] = drawing.value;
  renderDrawing();
}

function renderPaper(cursor) {
  const [channels, rows, columns] = data.input;
  const context = paper().getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * drawing.pixels[(channels === 3 ? c : 0) * rows * columns + i];
    image.data[4 * i + 3] = 255;
  }
  if (cursor) image.data.set([200, 0, 0, 255], 4 * (drawing.at[0] * columns + drawing.at[1]));
  context.putImageData(image, 0, 0);
}

function renderDrawing() {
  renderPaper(false);
  const { before } = drawing;
  const now = runProgram(drawing.program, drawing.pixels, data.input);
  const flipped = now.q.map((values, l) => values.reduce((sum, v, i) => sum + (v > 0 !== before.q[l][i] > 0), 0));
  const all = now.q.reduce((sum, values) => sum + values.length, 0);
  const best = now.logits.indexOf(Math.max(...now.logits));
  const shares = probabilities(now.logits);
  const low = Math.min(0, ...now.logits, ...before.logits);
  const high = Math.max(0, ...now.logits, ...before.logits);
  const shown = shownClasses({ logits: now.logits, label: current().label });
  const rows = shown.flatMap((i) => [
    element("span", { class: i === best ? "name chosen" : "name" }, className(i)),
    bar([[now.logits[i], i === best ? "chosen" : ""]], low, high, before.logits[i]),
    element("span", { class: "value" }, number(now.logits[i])),
    element("span", { class: "share" }, percent(shares[i])),
  ]);
  const total = flipped.reduce((a, b) => a + b);
  $("drawn").replaceChildren(
    element("p", {}, element("strong", {}, `Now predicted ${className(best)}`), ` (${percent(shares[best])}). `,
      `${total.toLocaleString("en")} of ${all.toLocaleString("en")} gates have flipped: ` +
      flipped.map((count, l) => `${data.layers[l].name} ${count}`).join(", ") + "."),
    element("div", { class: "rows logits shares" }, ...rows),
    element("p", { class: "small" }, "Dotted: the logits before. The page computes the network itself, with all its weights."));
}
