// YuNet, as `cv2.FaceDetectorYN` runs it, and faces as `mien.faces.detector` looks for them.

import { cropped, enlarged, rounded, shrunk } from "./resize.js";

const f = Math.fround;
const STRIDES = [8, 16, 32];

// The rows of the net's outputs for an image of so many pixels, the surest first: { box, marks, score }.
export function decoded(outputs, width, height, { score: least, overlap, parts }) {
  const found = [];
  for (const stride of STRIDES) {
    const columns = width / stride;
    const [cls, obj, boxes, marks] = ["cls", "obj", "bbox", "kps"].map((name) => outputs[`${name}_${stride}`].data);
    for (let at = 0; at < columns * (height / stride); at += 1) {
      const score = f(Math.sqrt(f(share(cls[at]) * share(obj[at]))));
      if (score < f(least)) continue;
      const [column, row] = [at % columns, Math.floor(at / columns)];
      const wide = f(f(Math.exp(boxes[4 * at + 2])) * stride);
      const high = f(f(Math.exp(boxes[4 * at + 3])) * stride);
      const x = f(f(f(column + boxes[4 * at]) * stride) - f(wide / 2));
      const y = f(f(f(row + boxes[4 * at + 1]) * stride) - f(high / 2));
      const points = [0, 1, 2, 3, 4].map((mark) => [
        f(f(marks[10 * at + 2 * mark] + column) * stride),
        f(f(marks[10 * at + 2 * mark + 1] + row) * stride),
      ]);
      found.push({ box: [x, y, wide, high], marks: points, score });
    }
  }
  const kept = found.length > 1 ? surest(found, f(least), f(overlap)) : found;
  const place = (value) => rounded(value * parts) / parts;
  return kept.map(({ box, marks, score }) => ({ box: box.map(place), marks: marks.map((mark) => mark.map(place)), score }));
}

function share(value) {
  return Math.max(0, Math.min(1, value));
}

// `cv2.dnn.NMSBoxes`, on whole pixels.
function surest(found, least, overlap) {
  const kept = [];
  for (const one of found.filter(({ score }) => score > least).sort((a, b) => b.score - a.score)) {
    const whole = one.box.map(Math.trunc);
    if (kept.every((other) => f(overlapOf(whole, other.whole)) <= overlap)) kept.push({ ...one, whole });
  }
  return kept;
}

function overlapOf(a, b) {
  const both = a[2] * a[3] + b[2] * b[3];
  if (both <= 0) return 1;
  const shared = common(a, b);
  return shared / (both - shared);
}

// The area that two boxes have in common.
function common(a, b) {
  const wide = Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0]);
  const high = Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]);
  return Math.max(0, wide) * Math.max(0, high);
}

// The side of the square with a box's area.
export function sideOf([, , wide, high]) {
  return Math.sqrt(wide * high);
}

function scaled(from, scale) {
  if (scale === 1) return from;
  const [width, height] = [from.width, from.height].map((side) => Math.max(1, rounded(side * scale)));
  return (scale < 1 ? shrunk : enlarged)(from, width, height);
}

export class Detector {
  // `run` gives the net's outputs for its input: float32 (1, 3, height, width), BGR.
  constructor(run, settings) {
    this.run = run;
    this.settings = settings;
  }

  // The faces of an image, from left to right: { box, marks, score }.
  async faces(from) {
    const { sides, looks, shared } = this.settings;
    const whole = Math.max(from.width, from.height);
    let found = await this.at(from, new Set(sides.map((side) => Math.min(1, side / whole))));
    for (const { times, side, score } of looks) {
      const larger = Math.min(times, side / whole);
      if (!found.length && larger > 1) found = (await this.at(from, new Set([larger]))).filter((one) => one.score >= score);
    }
    const kept = [];
    for (const one of found.sort((a, b) => b.score - a.score)) {
      const near = (other) => common(one.box, other.box) / Math.min(one.box[2] * one.box[3], other.box[2] * other.box[3]);
      if (kept.every((other) => near(other) <= shared)) kept.push(one);
    }
    return kept.sort((a, b) => a.box.map((value, at) => value - b.box[at]).find((apart) => apart !== 0) ?? 0);
  }

  async at(from, scales) {
    const found = [];
    for (const scale of [...scales].sort((a, b) => a - b)) {
      for (const one of await this.looked(scaled(from, scale))) {
        if (![...one.box, one.score].every(Number.isFinite) || Math.min(one.box[2], one.box[3]) < 1) continue;
        const back = 1 / scale;
        found.push({ ...one, box: one.box.map((v) => v * back), marks: one.marks.map(([x, y]) => [x * back, y * back]) });
      }
    }
    // What lies mostly beyond the photo was seen in its repeated edge.
    const frame = [0, 0, from.width, from.height];
    return found.filter(({ box }) => common(box, frame) > this.settings.shared * sideOf(box) ** 2);
  }

  async looked(from) {
    const { least } = this.settings;
    const shown = cropped(from, 0, 0, Math.max(from.width, least), Math.max(from.height, least));
    const [width, height] = [shown.width, shown.height].map((side) => 32 * Math.ceil(side / 32));
    const input = new Float32Array(3 * width * height);
    for (let y = 0; y < shown.height; y += 1) {
      for (let x = 0; x < shown.width; x += 1) {
        for (let channel = 0; channel < 3; channel += 1) {
          input[(channel * height + y) * width + x] = shown.data[3 * (y * shown.width + x) + 2 - channel];
        }
      }
    }
    return decoded(await this.run(input, width, height), width, height, this.settings);
  }
}
