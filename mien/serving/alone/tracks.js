// A camera's faces followed over frames, and their probabilities smoothed, as `mien.prediction.tracks` does it.

import { sideOf } from "./detector.js";

const GAP = 1; // s
const FARTHEST = 0.75;
const LARGEST = 2;
const AHEAD = 0.5; // s

export class Tracks {
  constructor(smooth) {
    this.smooth = smooth;
    this.next = 1;
    this.frame = 0;
    this.tracks = [];
  }

  // The { track, smoothed } of each answer of the next frame, at a time in seconds.
  follow(time, answers) {
    this.tracks = this.tracks.filter((track) => time - track.time <= GAP || track.frame === this.frame);
    this.frame += 1;
    const pairs = this.tracks
      .flatMap((track) => answers.map((face, place) => ({ track, place, score: fit(track, face, time) })))
      .filter(({ score }) => score !== null)
      .sort((a, b) => b.score - a.score || a.track.number - b.track.number || a.place - b.place);
    const mine = new Map();
    const taken = new Set();
    for (const { track, place } of pairs) {
      if (taken.has(track) || mine.has(place)) continue;
      taken.add(track);
      mine.set(place, track);
    }
    return answers.map((face, place) => this.seen(mine.get(place), face, time));
  }

  seen(known, { box, marks, probabilities }, time) {
    const track = known ?? { number: this.next++, smoothed: probabilities, speed: [0, 0], seen: 0 };
    if (known) {
      track.speed = speedOf(track, box, time);
      track.smoothed = Object.fromEntries(
        Object.entries(probabilities).map(([name, value]) => [
          name, this.smooth * track.smoothed[name] + (1 - this.smooth) * value,
        ]),
      );
    } else {
      this.tracks.push(track);
    }
    Object.assign(track, { box, marks, time, frame: this.frame, seen: track.seen + 1 });
    return { track: track.number, smoothed: track.smoothed };
  }
}

function middle([x, y, wide, high]) {
  return [x + wide / 2, y + high / 2];
}

// The mean of the speed so far and that of the last step.
function speedOf(track, box, time) {
  const lasts = time - track.time;
  if (lasts <= 0) return track.speed;
  const [before, now] = [middle(track.box), middle(box)];
  const step = [0, 1].map((axis) => (now[axis] - before[axis]) / lasts);
  return track.seen === 1 ? step : step.map((value, axis) => (track.speed[axis] + value) / 2);
}

// How well a face fits a track, 0 to 2; null where it doesn't.
function fit(track, { box, marks }, time) {
  const [side, before] = [sideOf(box), sideOf(track.box)];
  if (Math.max(side, before) > LARGEST * Math.min(side, before)) return null;
  const lasts = Math.min(Math.max(time - track.time, 0), AHEAD);
  const [x, y] = track.speed.map((speed) => speed * lasts);
  const apart = marks.map((now, at) => Math.hypot(now[0] - track.marks[at][0] - x, now[1] - track.marks[at][1] - y));
  const distance = apart.reduce((sum, value) => sum + value, 0) / apart.length / ((side + before) / 2);
  if (distance > FARTHEST) return null;
  const [left, top, wide, high] = track.box;
  return 1 - distance + overlap([left + x, top + y, wide, high], box);
}

// The area that two boxes have in common over that of both together.
function overlap(a, b) {
  const wide = Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0]);
  const high = Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]);
  const both = Math.max(0, wide) * Math.max(0, high);
  return both / (a[2] * a[3] + b[2] * b[3] - both);
}
