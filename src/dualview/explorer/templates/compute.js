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
    const at = (source) => (source < 0 ? input : values[source]);
    values.push(STEPS[step.op](step, at(step.source), gates, step.other === null ? null : at(step.other)));
  }
  return values;
}

/** Entries first + step * i of each axis of a value, 0 where there is none: an array of this shape. */
function moved({ data, shape: [channels, rows, columns] }, shape, first, step) {
  const result = new Float64Array(shape.reduce((a, b) => a * b));
  let at = 0;
  for (let c = 0; c < shape[0]; c++) {
    for (let y = 0; y < shape[1]; y++) {
      for (let x = 0; x < shape[2]; x++, at++) {
        const [k, row, column] = [first[0] + step[0] * c, first[1] + step[1] * y, first[2] + step[2] * x];
        if (k < 0 || row < 0 || column < 0 || k >= channels || row >= rows || column >= columns) continue;
        result[at] = data[(k * rows + row) * columns + column];
      }
    }
  }
  return { data: result, shape };
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
  add: (_, { data, shape }, gates, other) => ({ data: data.map((v, i) => v + other.data[i]), shape }),
  take: ({ numbers }, value) => moved(value, [1, 4, 7].map((i) => numbers[i]), [0, 3, 6].map((i) => numbers[i]), [2, 5, 8].map((i) => numbers[i])),
  pad: ({ numbers }, value) => moved(value, value.shape.map((size, axis) => size + numbers[2 * axis] + numbers[2 * axis + 1]), [0, 2, 4].map((i) => -numbers[i]), [1, 1, 1]),
  pool: ({ numbers: [high, wide, down, across] }, { data, shape: [channels, rows, columns] }) => {
    const shape = [channels, Math.floor((rows - high) / down) + 1, Math.floor((columns - wide) / across) + 1];
    const result = new Float64Array(shape.reduce((a, b) => a * b));
    let at = 0;
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < shape[1]; y++) {
        for (let x = 0; x < shape[2]; x++, at++) {
          for (let i = 0; i < high; i++) {
            for (let j = 0; j < wide; j++) result[at] += data[(c * rows + y * down + i) * columns + x * across + j] / (high * wide);
          }
        }
      }
    }
    return { data: result, shape };
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
