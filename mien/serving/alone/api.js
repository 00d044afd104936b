// What the page asks, answered in this browser: no photo leaves it. The server's page has its own api.js in this place.

import { Detector } from "./detector.js";
import { frames } from "./frames.js";
import { photoOf } from "./photo.js";
import { Predictor } from "./predictor.js";
import * as ort from "./runtime/ort.js";
import { Tracks } from "./tracks.js";

export const PICTURES =
  "They stay in this browser, are looked at in its memory, and are forgotten: none is sent, stored or logged. " +
  "This page loads its own files alone, and keeps nothing when it is closed.";

export class Refused extends Error {}

// Of a clip, as a server has it.
const LONGEST = 600; // s

let parts = null;
let turns = Promise.resolve();

// One after the other: a session takes one run at a time.
function inTurn(work) {
  const done = turns.then(work);
  turns = done.catch(() => {});
  return done;
}

async function fetched(path) {
  const answer = await fetch(new URL(path, document.baseURI));
  if (!answer.ok) throw new Refused(`${path} can't be loaded: the web host answers ${answer.status}`);
  return answer;
}

async function bytes(path) {
  return new Uint8Array(await (await fetched(path)).arrayBuffer());
}

// What was exported, opened once; a page that couldn't load all tries again.
function opened() {
  parts ??= open().catch((error) => {
    parts = null;
    throw error instanceof Refused ? error : new Refused(`the page's files can't be loaded: ${error.message}`);
  });
  return parts;
}

async function open() {
  const about = await (await fetched("page/about.json")).json();
  if (!ort.env.wasm.wasmBinary) {
    // More threads would need headers that few web hosts send.
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = await bytes("page/runtime/ort.wasm");
  }
  const sessions = new Map();
  const session = (file) => {
    if (!sessions.has(file)) sessions.set(file, bytes(file).then((data) => ort.InferenceSession.create(data)));
    return sessions.get(file);
  };
  const detector = new Detector(async (input, width, height) => {
    const net = await session(about.detector.file);
    return net.run({ [net.inputNames[0]]: new ort.Tensor("float32", input, [1, 3, height, width]) });
  }, about.detector);
  const predictors = about.models.map((model) => {
    const nets = { classes: outputsOf(session, model), points: about.pointer && outputsOf(session, about.pointer) };
    return new Predictor(detector, model, about, nets);
  });
  await Promise.all([session(about.detector.file), session(about.models[0].file)]);
  return { about, predictors };
}

// What runs a net on faces of one size: one Float32Array of its outputs a face.
function outputsOf(session, { file, output }) {
  return async (faces, side) => {
    const { channels } = faces[0];
    const pixels = new Uint8Array(faces.length * side * side * channels);
    faces.forEach(({ data }, at) => pixels.set(data, at * data.length));
    const images = new ort.Tensor("uint8", pixels, [faces.length, side, side, channels]);
    const { data, dims } = (await (await session(file)).run({ images }, [output]))[output];
    return faces.map((_, at) => data.subarray(at * dims[1], (at + 1) * dims[1]));
  };
}

export function setToken() {}

// The models, and what binds the use of the points, null where there is no model of them.
export async function models() {
  const { about } = await opened();
  return { models: about.models, points: about.points };
}

async function predictorOf(name) {
  const { about, predictors } = await opened();
  return { about, predictor: predictors.find(({ model }) => model.name === name) ?? predictors[0] };
}

export async function predict(file, name, model, points) {
  const { about, predictor } = await predictorOf(model);
  const photo = await photoOf(file, about).catch((error) => {
    if (error instanceof RangeError) throw new Refused(error.message);
    throw new Refused("this is no picture that this browser can read; expected PNG, JPEG, WEBP, BMP or GIF");
  });
  const answers = await inTurn(() => predictor.answers(photo, points));
  return { model: predictor.title, faces: predictor.rows(name, answers) };
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
  const { about, predictor } = await predictorOf(model);
  const tracks = new Tracks(about.smooth);
  return async (canvas, time) => {
    const photo = await photoOf(canvas, about);
    const answers = await inTurn(() => predictor.answers(photo, points));
    const followed = tracks.follow(time, answers);
    const rows = predictor.rows(name, answers);
    rows.forEach((row, at) => Object.assign(row, { time }, answers.length && smoothed(row, followed[at])));
    return rows;
  };
}

// The answer of a face by its track.
function smoothed({ uncertain }, { track, smoothed: shares }) {
  const [top] = Object.entries(shares).reduce((best, next) => (next[1] > best[1] ? next : best));
  return { track, smoothed: shares, top, answer: uncertain ? "uncertain" : top };
}
