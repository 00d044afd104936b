// A camera: a frame is told when the one before is answered, so that none is late.

import { live } from "./api.js";
import { make, overlay } from "./faces.js";

const WIDEST = 640;
// The rate that is shown is the mean of so many frames.
const FRAMES = 10;

// Gives what turns it off; `tell` gets sentences, `ended` is called when it is off for whatever reason.
export async function turnOn(section, model, points, tell, ended) {
  if (!navigator.mediaDevices) throw new Error("a browser gives the camera only to https:// and to this machine's own pages");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: WIDEST }, audio: false });
  const video = make("video", { muted: true, playsInline: true, srcObject: stream });
  video.setAttribute("aria-label", "What the camera sees");
  const stage = make("div", { className: "stage" }, make("div", { className: "picture" }, video));
  const rate = make("p", { className: "rate" });
  section.replaceChildren(stage, rate);
  const canvas = make("canvas");
  const times = [];
  let line = null;
  let on = true;

  function off() {
    if (!on) return;
    on = false;
    stream.getTracks().forEach((track) => track.stop());
    line?.close();
    section.replaceChildren();
    ended();
  }

  async function look() {
    const scale = Math.min(1, WIDEST / video.videoWidth);
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const { faces, error } = await line.tell(canvas);
    if (!on) return;
    overlay(stage, faces, canvas.width, canvas.height);
    if (error) tell(error.message);
    times.push(performance.now());
    if (times.length > FRAMES + 1) times.shift();
    const seconds = (times.at(-1) - times[0]) / 1000;
    if (seconds > 0) rate.textContent = `${((times.length - 1) / seconds).toFixed(1)} frames a second`;
    await new Promise(requestAnimationFrame);
  }

  async function run() {
    while (on) await look();
  }

  try {
    await video.play();
    line = await live(model, points);
  } catch (error) {
    off();
    throw error;
  }
  run().catch((error) => {
    if (on) tell(error.message);
    off();
  });
  stream.getVideoTracks()[0].addEventListener("ended", off);
  return off;
}
