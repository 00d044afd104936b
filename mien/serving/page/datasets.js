// One data set: its faces, rows by split and class, and what an audit has found.

import { get } from "./api.js";
import { make } from "./faces.js";
import { link, name, printed, problems, sayStatus, scroller, shown, table } from "./parts.js";

export async function dataset(section, signal, called) {
  name(called);
  const card = await get(`v1/workspace/datasets/${called}`, signal);
  const sizes = Object.entries(card.sizes).map(([size, n]) => `${size} (${n.toLocaleString("en")})`);
  const about = [
    `Labels ${card.labels}; pixels ${sizes.join(", ")}; from ${card.source}.`,
    card.parent ? ` Made from ${card.parent}.` : "",
  ].join("");
  const sheet = shown(`v1/workspace/datasets/${called}/sheet`, `Faces of ${called} by class`, signal);
  section.replaceChildren(
    make("h2", { textContent: `Data set ${called}` }),
    make("p", { textContent: about }),
    ...card.notes.map((note) => make("p", { className: "note", textContent: note })),
    ...problems(card.problems),
    make("h3", { textContent: "Rows by class" }),
    counts(card),
    make("h3", { textContent: "Faces" }),
    scroller(make("div", { className: "sheet" }, sheet), "Faces by class"),
    make("h3", { textContent: "Audit" }),
    ...(card.audit?.map(printed) ?? [make("p", { textContent: `There is none; mien data audit ${called} makes one.` })]),
    make("h3", { textContent: "Likely label errors" }),
    make(
      "p",
      {},
      card.suspects
        ? link(`#workspace/datasets/${called}/suspects`, "Look through them")
        : "There is no list; mien suspects makes one, of the runs of all folds.",
    ),
  );
  sayStatus(section, "");
}

function counts({ classes, splits }) {
  const parts = Object.entries(splits);
  const told = (n, of) => `${n.toLocaleString("en")}${n ? ` (${((100 * n) / of).toFixed(1)} %)` : ""}`;
  const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);
  const rows = classes.map((one, place) => [one, ...parts.map(([, n]) => told(n[place], sum(n)))]);
  rows.push(["all", ...parts.map(([, n]) => sum(n).toLocaleString("en"))]);
  return table("", ["class", ...parts.map(([split]) => split)], rows);
}
