// A clip: its video plays with the boxes of the moment, and below it each face that is followed has its course.

import { film } from "./api.js";
import { make, overlay, percent, shares, svg } from "./faces.js";

// Moments a second that are looked at.
const RATE = 2;
// A box is shown until the next moment is due.
const LASTS = 1 / RATE + 0.05; // s

const COURSES =
  "Each strip is the whole clip: the stronger its colour, the more probable the expression at that moment; a click shows " +
  "the moment. At the right: in how many of the face's moments the expression was the likeliest.";

export function isClip(file) {
  return file.type.startsWith("video/");
}

export function clip(name) {
  const video = make("video", { controls: true, muted: true, playsInline: true });
  video.setAttribute("aria-label", name);
  const stage = make("div", { className: "stage" }, make("div", { className: "picture" }, video));
  const caption = make("figcaption", { textContent: `${name}: …` });
  const courses = make("div", { className: "courses" });
  const stop = new AbortController();
  const moments = [];
  let before = null;

  function draw() {
    const now = moments.findLast(({ time }) => time <= video.currentTime + 0.001);
    const due = now && video.currentTime - now.time < LASTS ? now : null;
    if (due !== before && video.videoWidth) overlay(stage, due?.faces ?? [], video.videoWidth, video.videoHeight);
    before = due;
  }

  function seek(time) {
    video.currentTime = time;
  }

  return {
    element: make("figure", {}, stage, caption, courses),

    // All rows of a file's faces, as they come; ends early, without an error, when it is forgotten.
    async look(file, model, points) {
      const began = performance.now();
      const rows = [];
      video.src = URL.createObjectURL(file);
      video.addEventListener("error", () => video.remove(), { once: true });
      ["timeupdate", "seeked"].forEach((kind) => video.addEventListener(kind, draw));
      let broken = null;
      try {
        for await (const row of film(file, name, model, points, RATE, stop.signal)) {
          rows.push(row);
          if (row.error) broken = row.error;
          else if (moments.at(-1)?.time === row.time) moments.at(-1).faces.push(row);
          else moments.push({ time: row.time, faces: [row] });
          caption.textContent = `${name}: ${row.time?.toFixed(1) ?? ""} s looked at`;
          draw();
        }
      } catch (error) {
        if (stop.signal.aborted) return [];
        if (!rows.length) throw error;
        // What was told so far stays.
        broken = error.message;
      }
      const found = coursesOf(moments);
      caption.textContent = told(name, moments, found.length, (performance.now() - began) / 1000, broken);
      caption.classList.toggle("wrong", Boolean(broken));
      if (!video.isConnected) caption.append(" (the browser can't show this video)");
      const drawings = found.map((course) => drawn(course, moments, seek));
      courses.replaceChildren(...(drawings.length ? [make("p", { className: "soft", textContent: COURSES })] : []), ...drawings);
      return rows;
    },
    refuse(why) {
      stage.remove();
      caption.textContent = `${name}: ${why}`;
      caption.className = "wrong";
    },
    forget() {
      stop.abort();
      URL.revokeObjectURL(video.src);
    },
  };
}

function told(name, moments, followed, seconds, broken) {
  const without = moments.filter(({ faces }) => !faces[0].box).length;
  const parts = [
    `${name}: ${counted(moments.length)} looked at, ${RATE} a second, in ${seconds.toFixed(1)} s`,
    followed === 1 ? "1 face followed" : `${followed} faces followed`,
    ...(without ? [`${counted(without)} without a face`] : []),
    ...(broken ? [broken] : []),
  ];
  return parts.join("; ");
}

function counted(moments) {
  return moments === 1 ? "1 moment" : `${moments} moments`;
}

// The rows of each track, by their moments' numbers.
function coursesOf(moments) {
  const tracks = new Map();
  moments.forEach(({ faces }, place) => {
    for (const face of faces.filter(({ box }) => box)) {
      if (!tracks.has(face.track)) tracks.set(face.track, new Map());
      tracks.get(face.track).set(place, face);
    }
  });
  return [...tracks].map(([track, seen]) => ({ track, seen })).sort((a, b) => a.track - b.track);
}

// A strip for each class, the darker the more probable, and in how many of the moments it was the likeliest.
function drawn({ track, seen }, moments, seek) {
  const faces = [...seen.values()];
  const [first, last] = [faces[0], faces.at(-1)].map(({ time }) => time.toFixed(1));
  const title = make("h3", { textContent: `Track ${track}: ${counted(faces.length)} from ${first} to ${last} s` });
  const list = make("dl", { className: "course" });
  for (const name of Object.keys(shares(faces[0]))) {
    const most = percent(faces.filter(({ top }) => top === name).length / faces.length);
    const strip = svg("svg", { viewBox: `0 0 ${moments.length} 1`, preserveAspectRatio: "none", role: "img" });
    strip.setAttribute("aria-label", `${name}: the likeliest in ${most} of the moments`);
    for (const [place, face] of seen) {
      strip.append(svg("rect", { x: place, y: 0, width: 1, height: 1, "fill-opacity": shares(face)[name].toFixed(3) }));
    }
    strip.addEventListener("click", (event) => {
      const { left, width } = strip.getBoundingClientRect();
      seek(moments[Math.min(moments.length - 1, Math.floor(((event.clientX - left) / width) * moments.length))].time);
    });
    list.append(make("dt", { textContent: name }), make("dd", {}, strip), make("dd", { className: "share", textContent: most }));
  }
  return make("section", {}, title, list);
}
