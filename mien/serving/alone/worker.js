// The models, in a thread of their own, so that the page stays quick while a photo is looked at: api.js asks them.

import { Detector } from "./detector.js";
import { photoOf } from "./photo.js";
import { Predictor } from "./predictor.js";
import * as ort from "./runtime/ort.js";

let parts = null;
let turns = Promise.resolve();

// One after the other: a session takes one run at a time.
function inTurn(work) {
  const done = turns.then(work);
  turns = done.catch(() => {});
  return done;
}

async function fetched(path) {
  const answer = await fetch(new URL(`../${path}`, import.meta.url));
  if (!answer.ok) throw new Error(`of ${path} the web host says ${answer.status}`);
  return answer;
}

async function bytes(path) {
  return new Uint8Array(await (await fetched(path)).arrayBuffer());
}

// What was exported, opened once; who couldn't load all tries again.
function opened() {
  parts ??= open().catch((error) => {
    parts = null;
    throw new Error(`the page's files can't be loaded: ${error.message}`);
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

const asked = {
  about: async () => (await opened()).about,

  // The faces in a file or an ImageBitmap, and their rows.
  async look(picture, name, model, points) {
    const { about, predictors } = await opened();
    const predictor = predictors.find((one) => one.model.name === model) ?? predictors[0];
    const photo = await photoOf(picture, about).catch((error) => {
      if (error instanceof RangeError) throw error;
      throw new Error("this is no picture that this browser can read; expected PNG, JPEG, WEBP, BMP or GIF");
    });
    const answers = await inTurn(() => predictor.answers(photo, points));
    return { model: predictor.title, answers, rows: predictor.rows(name, answers) };
  },
};

self.addEventListener("message", async ({ data: { number, what, given } }) => {
  try {
    self.postMessage({ number, answer: await asked[what](...given) });
  } catch (error) {
    self.postMessage({ number, refused: error.message });
  }
});
