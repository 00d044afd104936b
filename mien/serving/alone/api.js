// What the page asks, answered in this browser: no photo leaves it. The server's page has its own api.js in this place.

import { frames } from "./frames.js";
import { Tracks } from "./tracks.js";

export const PICTURES =
  "They stay in this browser, are looked at in its memory, and are forgotten: none is sent, stored or logged. " +
  "This page loads its own files alone, and keeps nothing when it is closed.";

export class Refused extends Error {}

// Of a clip, as a server has it.
const LONGEST = 600; // s

let worker = null;
let questions = 0;
const waiting = new Map();

function start() {
  // A worker of a file of its own would have no policy on such a host; one of a blob has that of the page.
  const text = `import ${JSON.stringify(new URL("worker.js", import.meta.url))};`;
  const made = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })), { type: "module" });
  made.addEventListener("message", ({ data: { number, answer, refused } }) => {
    const { come, fail } = waiting.get(number);
    waiting.delete(number);
    if (refused === undefined) come(answer);
    else fail(new Refused(refused));
  });
  // What asks next tries again.
  made.addEventListener("error", () => {
    worker = null;
    waiting.forEach(({ fail }) => fail(new Refused("the page's files can't be loaded")));
    waiting.clear();
  });
  return made;
}

// An answer of worker.js.
function ask(what, ...given) {
  worker ??= start();
  return new Promise((come, fail) => {
    waiting.set((questions += 1), { come, fail });
    const bitmaps = given.filter((one) => one instanceof ImageBitmap);
    worker.postMessage({ number: questions, what, given }, bitmaps);
  });
}

export function setToken() {}

// The models, and what binds the use of the points, null where there is no model of them.
export async function models() {
  const { models: told, points } = await ask("about");
  return { models: told, points };
}

export async function predict(file, name, model, points) {
  const { model: title, rows } = await ask("look", file, name, model, points);
  return { model: title, faces: rows };
}

// The rows of a video's faces, as they come: the browser plays it, from moment to moment.
export async function* film(file, name, model, points, fps, signal) {
  const tell = await follower(name, model, points);
  const seen = await frames(file);
  try {
    for (let number = 0; !signal.aborted; number += 1) {
      if (number / fps > LONGEST) throw new Refused(`the video is too long; expected at most ${LONGEST} seconds`);
      const canvas = await seen.at(number / fps);
      if (!canvas) return;
      yield* await tell(canvas, number / fps);
    }
    signal.throwIfAborted();
  } finally {
    seen.close();
  }
}

// A camera's frames, told one by one.
export async function live(model, points) {
  const tell = await follower("camera", model, points);
  return {
    async tell(canvas) {
      return { faces: await tell(canvas, performance.now() / 1000) };
    },
    close() {},
  };
}

// What gives the rows of one frame after another, each at a time in seconds.
async function follower(name, model, points) {
  const { smooth } = await ask("about");
  const tracks = new Tracks(smooth);
  return async (canvas, time) => {
    const { answers, rows } = await ask("look", await createImageBitmap(canvas), name, model, points);
    const followed = tracks.follow(time, answers);
    rows.forEach((row, at) => Object.assign(row, { time }, answers.length && smoothed(row, followed[at])));
    return rows;
  };
}

// The answer of a face by its track.
function smoothed({ uncertain }, { track, smoothed: shares }) {
  const [top] = Object.entries(shares).reduce((best, next) => (next[1] > best[1] ? next : best));
  return { track, smoothed: shares, top, answer: uncertain ? "uncertain" : top };
}
