// The plane through the example and two training images, where every gate is a straight line.

const PLANE_SIDE = 360;

function renderPlane() {
  const found = data.planes.find(({ example }) => example === state.example);
  if (found) {
    $("plane").replaceChildren(...planeParts(found));
    return;
  }
  if (!data.planes.length) {
    $("plane").replaceChildren(element("p", {}, `There is no such plane: ${data.no_planes}.`));
    return;
  }
  $("plane").replaceChildren(
    element("p", {}, "It is drawn for those of the examples here that the network is least sure of: "),
    element("div", { class: "strip-of-images" }, ...data.planes.map(({ example: i }) => {
      const { row, label } = data.examples[i];
      const said = `Example ${row}, ${className(label)}`;
      return element("button", { type: "button", class: "thumb", "aria-label": said, title: said, onclick: () => { show(i); $("h-plane").scrollIntoView(); } },
        picture(data.images, i, ""), element("span", { class: "words" }, shortened(className(label))));
    })));
}

function planeParts(found) {
  const { decided, labels } = found;
  const names = ["a", "b", "c"];
  const whose = [
    `this image, ${className(current().label)}`,
    `the nearest training image of ${className(labels[0])}`,
    `the nearest of ${className(labels[1])}`,
  ];
  const pictures = names.map((name, i) => element("figure", {},
    i ? picture(found.images, i - 1, `${name}: train example ${found.rows[i - 1]}`) : picture(data.images, state.example, `${name}: ${title(current())}`),
    element("figcaption", {}, element("strong", {}, name), `: ${whose[i]}; decided ${className(decided[i])}.`)));
  const key = found.tints.map(([label, tint]) => {
    const chip = element("span", { class: "key tint" });
    chip.style.background = `rgb(${tint.join(" ")})`;
    return element("li", {}, chip, className(label));
  });
  const same = decided[0] === predicted(current()) ? "" :
    ` With hard gates a is taken for ${className(decided[0])}, with the network’s own for ${className(predicted(current()))}.`;
  const count = found.lines.length;
  return [
    element("div", { class: "plane" },
      element("figure", {},
        planeDrawing(found),
        element("figcaption", {},
          `The plane through a, b and c. Each of the ${count.toLocaleString("en")} lines is one of the network’s ${found.gates.toLocaleString("en")} gates, open on one side and shut on the other; ` +
          `they cut it into ${found.cells.toLocaleString("en")} ${found.cells === 1 ? "cell" : "cells"}, in each of which the network is affine. Colours say what it decides there, with hard gates.${same}`)),
      element("div", {},
        element("ul", { class: "keys", "aria-label": "Colours" }, ...key),
        element("div", { class: "pictures" }, ...pictures))),
  ];
}

function planeDrawing(found) {
  const [left, right, bottom, top] = found.window;
  const scale = PLANE_SIDE / Math.max(right - left, top - bottom);
  const [width, height] = [scale * (right - left), scale * (top - bottom)];
  const x = (s) => (scale * (s - left)).toFixed(1);
  const y = (t) => (scale * (top - t)).toFixed(1);
  const decisions = found.tints.map(([label]) => className(label)).join(", ");
  return svg("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `The plane through the three images, cut by ${found.lines.length} gates into ${found.cells} cells; decided there: ${decisions}`,
  },
  svg("image", { href: address(found.areas), width, height, preserveAspectRatio: "none" }),
  svg("path", { class: found.lines.length > 100 ? "many" : null, d: found.lines.map(([a, b, c, d]) => `M${x(a)},${y(b)}L${x(c)},${y(d)}`).join("") }),
  ...found.points.flatMap(([s, t], i) => [
    svg("circle", { cx: x(s), cy: y(t), r: 5 }),
    svg("text", { x: x(s), y: y(t) - 9, "text-anchor": "middle" }, "abc"[i]),
  ]));
}
