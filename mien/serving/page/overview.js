// All data sets and runs of the workspace; looked at again every few seconds.

import { get } from "./api.js";
import { make } from "./faces.js";
import { link, name, pause, redraw, sayStatus, sentence, table } from "./parts.js";

const EVERY = 5000;

export async function overview(section, signal) {
  name("Workspace");
  for (let before = ""; ; ) {
    const found = await get("v1/workspace", signal);
    const now = JSON.stringify(found);
    if (now !== before) redraw(section, ...drawn(found));
    before = now;
    sayStatus(section, "");
    await pause(EVERY, signal);
  }
}

function drawn({ root, datasets, runs }) {
  const measured = runs.filter(({ report }) => report).length;
  return [
    make("h2", { textContent: "Data sets" }),
    datasets.length
      ? table("", ["data set", "labels", "rows", "splits"], datasets.map(datasetCells), 2)
      : make("p", { textContent: "There is none; mien data import makes one." }),
    make("h2", { textContent: "Runs" }),
    ...(measured > 1 ? [make("p", {}, link("#workspace/compare", "Compare two runs"))] : []),
    runs.length ? runTable(runs) : make("p", { textContent: "There is none; mien train makes one." }),
    make("p", { className: "soft", textContent: `Workspace ${root}. Scores of expressions are accuracies; in brackets: 95\u00a0% intervals.` }),
  ];
}

function broken(error) {
  return make("span", { className: "wrong", textContent: `can't be read: ${sentence(error)}` });
}

function datasetCells({ name: called, labels, splits, error }) {
  if (error) return [called, broken(error), "", ""];
  const counts = Object.values(splits);
  const rows = counts.reduce((sum, n) => sum + n, 0).toLocaleString("en");
  const told = Object.entries(splits).map(([split, n]) => `${split} ${n.toLocaleString("en")}`);
  return [link(`#workspace/datasets/${called}`, called), labels, rows, told.join(", ")];
}

function runTable(runs) {
  const columns = ["run", "state", "data set", "protocol", "epochs", "score to choose by", "score to report"];
  const rows = runs.map((one) => {
    const first = link(`#workspace/runs/${one.run}`, one.run);
    if (one.error) return [first, one.state, broken(one.error), "", "", "", ""];
    const epochs = `${one.epochs_done}/${one.epochs}`;
    return [first, one.state, one.dataset, one.protocol, epochs, one.choose ?? "–", one.report ?? "–"];
  });
  return table("", columns, rows, 4);
}
