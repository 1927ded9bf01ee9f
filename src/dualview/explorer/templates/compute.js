// The network itself, in the page: a value is {data, shape}, shape [channels, rows, columns] or [n].

const bytesOf = (words) => Uint8Array.from(atob(words), (c) => c.charCodeAt(0));
const floatsOf = (words) => (words === null ? null : new Float32Array(bytesOf(words).buffer));

/** A program with its numbers at hand. */
function compiled(program) {
  const numbers = (step) => ({ ...step, weights: floatsOf(step.weights), bias: floatsOf(step.bias) });
  return { ...program, gating: program.gating.map(numbers), weights: program.weights.map(numbers), images: imagesOf(program) };
}

/** The images' pixels from 0 to 1. */
function imagesOf({ images, bytes }) {
  return bytes ? Float64Array.from(bytesOf(images), (v) => v / 255) : Float64Array.from(floatsOf(images));
}

/** Pre-activations of every gated layer, and logits, of an image's pixels (c * rows * columns). */
function runProgram(program, pixels, shape) {
  const size = shape[1] * shape[2];
  const input = {
    shape,
    data: Float64Array.from(pixels, (v, i) => (v - program.mean[Math.floor(i / size)]) / program.std[Math.floor(i / size)]),
  };
  const gating = runSteps(program.gating, input, null);
  const q = program.q.map((step) => gating[step].data);
  const gates = q.map((values, layer) => {
    const [beta, scale] = program.gates[layer];
    return values.map((v) => (beta === null ? Number(v > 0) : scale / (1 + Math.exp(-beta * v))));
  });
  return { q, logits: [...runSteps(program.weights, input, gates).at(-1).data] };
}

function runSteps(steps, input, gates) {
  const values = [];
  for (const step of steps) {
    values.push(STEPS[step.op](step, step.source < 0 ? input : values[step.source], gates));
  }
  return values;
}

const STEPS = {
  flatten: (_, { data }) => ({ data, shape: [data.length] }),
  gate: ({ numbers: [layer] }, { data, shape }, gates) => ({ data: data.map((v, i) => v * gates[layer][i]), shape }),
  scale: ({ weights, bias }, { data, shape }) => {
    const size = data.length / shape[0];
    return { data: data.map((v, i) => v * weights[Math.floor(i / size)] + bias[Math.floor(i / size)]), shape };
  },
  average: (_, { data, shape: [channels] }) => {
    const size = data.length / channels;
    const mean = (c) => data.subarray(c * size, (c + 1) * size).reduce((a, b) => a + b, 0) / size;
    return { data: Float64Array.from({ length: channels }, (_, c) => mean(c)), shape: [channels, 1, 1] };
  },
  linear: ({ weights, bias, shape: [out, width] }, { data }) => {
    const result = new Float64Array(out);
    for (let o = 0; o < out; o++) {
      let sum = bias ? bias[o] : 0;
      for (let i = 0, at = o * width; i < width; i++, at++) sum += weights[at] * data[i];
      result[o] = sum;
    }
    return { data: result, shape: [out] };
  },
  convolution: ({ weights, bias, shape: [out, channels, high, wide], numbers: [down, across, top, left] }, { data, shape: [, rows, columns] }) => {
    const height = Math.floor((rows + 2 * top - high) / down) + 1;
    const width = Math.floor((columns + 2 * left - wide) / across) + 1;
    const result = new Float64Array(out * height * width);
    for (let o = 0; o < out; o++) {
      const plane = result.subarray(o * height * width, (o + 1) * height * width);
      if (bias) plane.fill(bias[o]);
      for (let c = 0; c < channels; c++) {
        for (let i = 0; i < high; i++) {
          for (let j = 0; j < wide; j++) {
            const weight = weights[((o * channels + c) * high + i) * wide + j];
            for (let y = 0; y < height; y++) {
              const row = y * down + i - top;
              if (row < 0 || row >= rows) continue;
              for (let x = 0; x < width; x++) {
                const column = x * across + j - left;
                if (column >= 0 && column < columns) plane[y * width + x] += weight * data[(c * rows + row) * columns + column];
              }
            }
          }
        }
      }
    }
    return { data: result, shape: [out, height, width] };
  },
};
