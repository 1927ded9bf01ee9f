// The logits, the image, and where on it the paths begin.

const MOST_CLASSES = 12;

function renderPrediction() {
  const example = current();
  const order = shownClasses(example);
  const low = Math.min(0, ...example.logits);
  const high = Math.max(0, ...example.logits);
  const shares = probabilities(example.logits);
  const rows = order.flatMap((i) => {
    const is = i === predicted(example);
    return [
      element("span", { class: is ? "name chosen" : "name" }, className(i) + (i === example.label ? " ✓" : "")),
      bar([[example.logits[i], is ? "chosen" : ""]], low, high),
      element("span", { class: is ? "value chosen" : "value" }, number(example.logits[i])),
      element("span", { class: is ? "share chosen" : "share" }, percent(shares[i])),
    ];
  });
  const all = order.length >= example.logits.length;
  const caption = (all ? "Logits" : `The ${MOST_CLASSES} largest of ${example.logits.length} logits`) + ", and probabilities beside them";
  $("prediction").replaceChildren(
    element("div", { class: "prediction" },
      element("div", {},
        element("div", { class: "rows logits shares" }, ...rows),
        element("p", { class: "small" }, `${caption}; ✓ marks the true class.`)),
      element("div", { class: "pictures" },
        element("figure", {},
          picture(data.images, state.example, title(example)),
          element("figcaption", {}, "The image.")),
        element("figure", { id: "starts" }))),
  );
}

/** The softmax of the logits. */
function probabilities(logits) {
  const largest = Math.max(...logits);
  const sizes = logits.map((logit) => Math.exp(logit - largest));
  const sum = sizes.reduce((a, b) => a + b);
  return sizes.map((size) => size / sum);
}

/** All classes in their order, or the largest ones and the true one. */
function shownClasses({ logits, label }) {
  const order = logits.map((_, i) => i);
  if (order.length <= MOST_CLASSES) return order;
  const largest = order.sort((a, b) => logits[b] - logits[a]).slice(0, MOST_CLASSES);
  return largest.includes(label) ? largest : [...largest, label];
}

function renderStarts() {
  const { starts, total, against } = currentOutput();
  const name = targetName(currentOutput());
  $("starts").replaceChildren(
    picture(starts.heat, 0, `What each pixel adds to ${logitOf(currentOutput())}`),
    element("figcaption", {},
      against === null
        ? `Where the paths to ${name} begin: red pixels add, blue ones take. Pixels `
        : `What decides, ${name}, by where paths begin: red pixels add to the lead, blue ones take. Pixels `,
      part(starts.input), ", biases ", part(starts.biases), ": together ", number(total), "."),
  );
}
