// The training images that speak for and against, by the kernel machine.

function renderTraining() {
  const { machine, against } = currentOutput();
  if (!data.machine || !machine) {
    const why = data.machine
      ? "The kernel machine has no training example of such a class."
      : "There is no kernel machine on this page; see the note at the top.";
    $("training").replaceChildren(element("p", {}, why));
    return;
  }
  const name = targetName(currentOutput());
  const best = machinePredicts(current().scores);
  const same = best === predicted(current());
  $("training").replaceChildren(
    element("p", { class: "how" },
      `By kernel regression on the neural path kernel, with ${data.machine.n.toLocaleString("en")} training images. ` +
      "This machine is not the network" + (data.examples.length === 1
        ? "."
        : `: they agree on ${percent(data.machine.agreement)} of the examples here.`)),
    element("p", { class: "sum-line" },
      element("strong", {},
        `Here it predicts ${className(best)}${same ? ", as the network does" : `; the network, ${className(predicted(current()))}`}. `),
      against === null
        ? `Its score of ${name} is ${number(machine.offset)}, the class’s share of its training images, `
        : `Its lead ${name} is ${number(machine.offset)}, by the classes’ shares of its training images, `,
      part(machine.for), " from images that speak for it, ", part(machine.against), " from those against: together ",
      element("strong", {}, number(machine.offset + machine.for + machine.against, 4)), "."),
    element("div", { class: "speakers" },
      speakers(machine.strongest[0], `Speak for ${name}`), speakers(machine.strongest[1], `Speak against ${name}`)),
  );
}

function machinePredicts(scores) {
  return scores.reduce((best, score, i) => (score !== null && (best < 0 || score > scores[best]) ? i : best), -1);
}

function speakers(list, heading) {
  const tiles = list.length
    ? element("div", { class: "tiles" }, ...list.map(trainingTile))
    : element("p", { class: "small" }, "None.");
  return element("div", {}, element("h3", {}, heading), tiles);
}

function trainingTile([place, value, kernel]) {
  const label = className(data.machine.labels[place]);
  const row = data.machine.rows[place];
  return element("figure", { title: `train example ${row}; its path kernel with this image is ${number(kernel)}` },
    picture(data.machine.images, place, `Train example ${row}, class ${label}`),
    element("figcaption", {}, element("span", { class: "name" }, label), " ", part(value, 2)));
}
