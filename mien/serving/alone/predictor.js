// From a face to its row: framed, told, and how sure that is, as `mien.inference.predictor` and `rows` do it.

import { sideOf } from "./detector.js";
import { cropped, enlarged, luma, rounded, shrunk, warped } from "./resize.js";

// The map from a photo's pixel centres to those of the face's square of `size` pixels, turned until the eyes are level.
export function frameMap({ box, marks }, size, { scale, down, turned }) {
  const [left, right] = marks;
  const angle = turned ? Math.atan2(right[1] - left[1], right[0] - left[0]) : 0;
  const side = sideOf(box);
  const factor = size / (scale * side);
  const [along, across] = [factor * Math.cos(angle), factor * Math.sin(angle)];
  const x = box[0] + box[2] / 2 - Math.sin(angle) * down * side - 0.5;
  const y = box[1] + box[3] / 2 + Math.cos(angle) * down * side - 0.5;
  const middle = (size - 1) / 2;
  return [
    [along, across, middle - along * x - across * y],
    [-across, along, middle + across * x - along * y],
  ];
}

// The Laplacian's variance over that of the gray, at `side` pixels.
export function sharpness(face, side) {
  let gray = luma(face);
  if (gray.width !== side) gray = (gray.width > side ? shrunk : enlarged)(gray, side, side);
  const inside = (at) => (at < 0 ? -at : at >= side ? 2 * side - 2 - at : at);
  const pixel = (x, y) => gray.data[inside(y) * side + inside(x)];
  const edges = [];
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      edges.push(pixel(x - 1, y) + pixel(x + 1, y) + pixel(x, y - 1) + pixel(x, y + 1) - 4 * pixel(x, y));
    }
  }
  const spread = variance(gray.data);
  return spread ? variance(edges) / spread : 0;
}

function variance(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}

// The nose's distance from the eyes' middle, along their line, in eyes' distances.
export function turn([left, right, nose]) {
  const [x, y] = [right[0] - left[0], right[1] - left[1]];
  const length = x * x + y * y;
  if (length === 0) return 1;
  return Math.abs((nose[0] - (left[0] + right[0]) / 2) * x + (nose[1] - (left[1] + right[1]) / 2) * y) / length;
}

// The square for the 68 points that a detector's box promises.
export function squareOf(box, { scale, right, down, widen }) {
  const side = sideOf(box);
  const whole = Math.max(1, rounded(widen * scale * side));
  const x = box[0] + box[2] / 2 + right * side;
  const y = box[1] + box[3] / 2 + down * side;
  return [rounded(x - whole / 2), rounded(y - whole / 2), whole];
}

function softmax(logits, temperature) {
  const top = Math.max(...logits);
  const shares = [...logits].map((value) => Math.exp((value - top) / temperature));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((value) => value / sum);
}

function digits(value) {
  return Math.round(value * 1e6) / 1e6;
}

// What a photo without a face has.
function emptyRow(path) {
  return {
    path, frame: null, time: null, face: null, track: null, answer: "no face", uncertain: null, error: null, top: null,
    probabilities: null, entropy: null, box: null, score: null, eyes: null, size: null, sharpness: null, model: null,
  };
}

export class Predictor {
  // `nets` has what runs a model's or the points' network: (faces, side) to its outputs, one Float32Array a face.
  constructor(detector, model, settings, nets) {
    Object.assign(this, { detector, model, settings, nets });
    this.title = `${model.name} ${model.sha256.slice(0, 12)}`;
  }

  // The faces of a photo, { pixels, scale }, from left to right; pixels of the answers are those of the full photo.
  async answers({ pixels, scale }, withPoints) {
    const faces = await this.detector.faces(pixels);
    if (!faces.length) return [];
    const { size, color, temperature, classes } = this.model;
    const cuts = faces.map((face) => warped(pixels, frameMap(face, size, this.settings.framing), size));
    const told = await this.nets.classes(color === "gray" ? cuts.map(luma) : cuts, size);
    const points = withPoints ? await this.points(faces, pixels, scale) : [];
    const back = 1 / scale;
    return faces.map(({ box, marks, score }, at) => {
      const shares = softmax(told[at], temperature ?? 1);
      return {
        box: box.map((value) => value * back),
        marks: marks.map(([x, y]) => [x * back, y * back]),
        score,
        size: sideOf(box) * back,
        sharpness: sharpness(cuts[at], this.settings.sharp_side),
        probabilities: Object.fromEntries(classes.map((name, place) => [name, shares[place]])),
        points: points[at],
      };
    });
  }

  async points(faces, pixels, scale) {
    const found = [];
    for (const { box } of faces) {
      const [left, top, side] = squareOf(box, this.settings.fit);
      const [shares] = await this.nets.points([cropped(pixels, left, top, side)], side);
      const place = (share, corner) => (Math.fround((share + 0.5) * side - 0.5) + corner + 0.5) / scale - 0.5;
      found.push(Array.from({ length: shares.length / 2 }, (_, at) => [place(shares[2 * at], left), place(shares[2 * at + 1], top)]));
    }
    return found;
  }

  // Answers as the rows of `mien predict --json`.
  rows(path, answers) {
    if (!answers.length) return [emptyRow(path)];
    const { smallest, blurest, turned } = this.settings.uncertain;
    return answers.map((one, at) => {
      const told = Object.entries(one.probabilities);
      const [top] = told.reduce((best, next) => (next[1] > best[1] ? next : best));
      const reasons = [
        [`small: ${one.size.toFixed(0)} px`, one.size < smallest],
        [`blurred: sharpness ${one.sharpness.toFixed(3)}`, one.sharpness < blurest],
        [`turned: ${turn(one.marks).toFixed(2)}`, turn(one.marks) > turned],
      ];
      const uncertain = reasons.filter(([, applies]) => applies).map(([reason]) => reason).join("; ");
      const row = {
        ...emptyRow(path),
        face: at + 1,
        answer: uncertain ? "uncertain" : top,
        uncertain: uncertain || null,
        top,
        probabilities: Object.fromEntries(told.map(([name, value]) => [name, digits(value)])),
        entropy: digits(-told.reduce((sum, [, value]) => sum + value * Math.log(Math.max(value, 1e-300)), 0)),
        box: one.box.map(digits),
        score: digits(one.score),
        eyes: one.marks.slice(0, 2).flat().map(digits),
        size: digits(one.size),
        sharpness: digits(one.sharpness),
        model: this.title,
      };
      return one.points ? { ...row, points: one.points.map((point) => point.map(digits)) } : row;
    });
  }
}
