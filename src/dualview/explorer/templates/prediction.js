// The logits, the image, and where on it the paths begin.

const MOST_CLASSES = 12;

function renderPrediction() {
  const example = current();
  const order = shownClasses(example);
  const low = Math.min(0, ...example.logits);
  const high = Math.max(0, ...example.logits);
  const rows = order.flatMap((i) => {
    const is = i === predicted(example);
    return [
      element("span", { class: is ? "name chosen" : "name" }, className(i) + (i === example.label ? " ✓" : "")),
      bar([[example.logits[i], is ? "chosen" : ""]], low, high),
      element("span", { class: is ? "value chosen" : "value" }, number(example.logits[i])),
    ];
  });
  const all = order.length >= example.logits.length;
  const caption = all ? "Logits" : `The ${MOST_CLASSES} largest of ${example.logits.length} logits`;
  $("prediction").replaceChildren(
    element("div", { class: "prediction" },
      element("div", {},
        element("div", { class: "rows logits" }, ...rows),
        element("p", { class: "small" }, `${caption}; ✓ marks the true class.`)),
      element("div", { class: "pictures" },
        element("figure", {},
          picture(data.images, state.example, title(example)),
          element("figcaption", {}, "The image.")),
        element("figure", { id: "starts" }))),
  );
}

/** All classes in their order, or the largest ones and the true one. */
function shownClasses({ logits, label }) {
  const order = logits.map((_, i) => i);
  if (order.length <= MOST_CLASSES) return order;
  const largest = order.sort((a, b) => logits[b] - logits[a]).slice(0, MOST_CLASSES);
  return largest.includes(label) ? largest : [...largest, label];
}

function renderStarts() {
  const { starts, total, output } = currentOutput();
  const name = className(output);
  $("starts").replaceChildren(
    picture(starts.heat, 0, `What each pixel adds to the logit of ${name}`),
    element("figcaption", {},
      `Where the paths to ${name} begin: red pixels add, blue ones take. Pixels `,
      part(starts.input), ", biases ", part(starts.biases), ": together ", number(total), "."),
  );
}
