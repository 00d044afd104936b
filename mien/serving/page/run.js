// One run: its curves, which grow while it trains, its scores, confusion matrices and explanations.

import { get } from "./api.js";
import { confusions } from "./confusion.js";
import { curves } from "./curves.js";
import { make } from "./faces.js";
import { link, name, pause, printed, problems, redraw, sayStatus, scroller, shown } from "./parts.js";

const EVERY = 2000;
const UNDER_WAY = ["running", "waiting"];
const ENDS = ["finished", "failed"];
const ROLES = { choose: "Scores to choose by", report: "Scores to report" };

export async function run(section, signal, called) {
  name(called);
  const head = make("div");
  const curve = make("div");
  const rest = make("div");
  section.append(head, curve, rest);
  let before = "";
  for (;;) {
    const found = await get(`v1/workspace/runs/${called}`, signal);
    redraw(head, ...about(found));
    curve.replaceChildren(...(found.curve ? curves(found.curve, found.epochs) : []));
    // What stands below is made anew only when it has changed: a reader may be in the middle of it.
    const { measured, explanations } = found;
    const now = JSON.stringify({ measured, explanations });
    if (now !== before) rest.replaceChildren(...scores(found, signal), ...explained(found, signal));
    before = now;
    sayStatus(section, UNDER_WAY.includes(found.state) ? `${called} is ${found.state}; this page follows it.` : "");
    // One that was stopped may go on.
    if (ENDS.includes(found.state)) return;
    await pause(EVERY, signal);
  }
}

function about(found) {
  const epochs = found.epochs === null ? "" : `, ${found.epochs_done} of ${found.epochs} epochs`;
  const data = found.dataset ? [" on ", link(`#workspace/datasets/${found.dataset}`, found.dataset)] : [];
  const protocol = found.protocol ? `, protocol ${found.protocol}` : "";
  return [
    make("h2", { textContent: `Run ${found.run}` }),
    make("p", {}, `${found.state}${epochs}`, ...data, `${protocol}.${found.reason ? ` ${found.reason}.` : ""}`),
    make("p", { className: "soft", textContent: found.folder }),
    ...problems(found.problems),
  ];
}

function scores(found, signal) {
  return found.measured.flatMap((one) => [
    make("h3", { textContent: `${ROLES[one.role]}: ${one.split}, n = ${one.n.toLocaleString("en")}` }),
    ...(one.warning ? [make("p", { className: "wrong", textContent: one.warning })] : []),
    ...one.tables.map(printed),
    ...one.sentences.map((text) => make("p", { className: "soft", textContent: text })),
    ...(one.confusion ? [confusions(found.run, one.role, signal)] : []),
  ]);
}

function explained(found, signal) {
  return found.explanations.flatMap((one) => [
    make("h3", { textContent: one.title }),
    make("p", { className: "soft", textContent: one.rows }),
    ...(one.warning ? [make("p", { className: "wrong", textContent: one.warning })] : []),
    ...one.sentences.map((text) => make("p", { textContent: text })),
    ...one.pictures.map((file) => {
      const path = `v1/workspace/runs/${found.run}/explain/${encodeURIComponent(file)}`;
      const stem = file.replace(/\.png$/, "").replaceAll("-", " ");
      return scroller(make("div", { className: "sheet" }, shown(path, `${one.title}: ${stem}`, signal)), stem);
    }),
  ]);
}
