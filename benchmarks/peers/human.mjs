// The emotion model of @vladmandic/human, prepared as src/gear/emotion.ts does, by TensorFlow.js's WASM backend.
// node human.mjs MODEL FACES OUT THREADS BATCH…: see benchmarks/best.py. Run where @tensorflow/tfjs and
// @tensorflow/tfjs-backend-wasm are installed.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");

const SIDE = 48, SIZE = 64, CLASSES = 7;
const [model, faces, out, threads, ...batches] = process.argv.slice(2);

wasm.setThreadsCount(Number(threads));
wasm.setWasmPaths(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + "/");
await tf.setBackend("wasm");
const about = JSON.parse(readFileSync(model, "utf8"));
const weights = Buffer.concat(
  about.weightsManifest.flatMap((part) => part.paths.map((path) => readFileSync(join(dirname(model), path)))),
);
const network = await tf.loadGraphModel(
  tf.io.fromMemory({
    modelTopology: about.modelTopology,
    weightSpecs: about.weightsManifest.flatMap((part) => part.weights),
    weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length),
  }),
);
const gray = readFileSync(faces);
const n = gray.length / SIDE / SIDE;
const found = new Float32Array(n * CLASSES);
const ready = tf.tidy(() => {
  const whole = tf.tensor4d(Float32Array.from(gray, (value) => value / 255), [n, SIDE, SIDE, 1]);
  return tf.image.resizeBilinear(whole, [SIZE, SIZE], false).sub(0.5).mul(2);
});
const rates = {};
for (const batch of batches.map(Number)) {
  const whole = n - (n % batch);
  const started = performance.now();
  for (let start = 0; start < whole; start += batch) {
    const answer = tf.tidy(() => network.execute(ready.slice([start, 0, 0, 0], [batch, SIZE, SIZE, 1])));
    found.set(answer.dataSync(), start * CLASSES);
    answer.dispose();
  }
  rates[batch] = (whole * 1000) / (performance.now() - started);
}
writeFileSync(out, found);
console.log(JSON.stringify(rates));
