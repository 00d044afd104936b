import { models, PICTURES, Refused, setToken } from "./api.js";
import { turnOn } from "./camera.js";
import { clip, isClip } from "./clip.js";
import { figure, make } from "./faces.js";
import { csv, fill, tabs } from "./table.js";

const at = (id) => document.getElementById(id);
const tell = (text) => {
  at("status").textContent = text;
};

let cards = [];
let watched = false;
let rows = [];
let taken = [];
let figures = [];
let cameraOff = null;

async function start() {
  let workspace;
  tell("Getting the model ready");
  try {
    const told = await models();
    cards = told.models;
    workspace = told.workspace;
    at("points").closest("label").hidden = told.points === null;
    at("terms").textContent = told.points ? ` (by a model ${told.points})` : "";
  } catch (error) {
    at("token").hidden = !(error instanceof Refused && error.status === 401);
    if (at("token").hidden) tell(error.message);
    else at("token").querySelector("input").focus();
    return;
  }
  tell("");
  at("token").hidden = true;
  at("model").replaceChildren(...cards.map(({ name }) => make("option", { textContent: name })));
  about();
  at("views").hidden = !workspace;
  if (workspace && !watched) {
    // The page without a server has no such module.
    const { watch } = await import("./workspace.js");
    watch(at("views"), at("photo-view"), at("workspace"));
  }
  watched = workspace;
}

function about() {
  const card = cards.find(({ name }) => name === at("model").value);
  const limits = card.limits ? ` Its use is bound to this: ${card.limits}.` : "";
  at("about").textContent =
    `${card.name} (SHA-256 ${card.sha256.slice(0, 12)}) tells ${card.classes.join(", ")} ` +
    `from a face of ${card.size} × ${card.size} pixels.${limits}`;
  at("card").parentElement.hidden = card.card === null;
  at("card").textContent = card.card ?? "";
}

async function take(files) {
  if (!files.length) return;
  const model = at("model").value;
  const points = at("points").checked;
  const added = [...files].map((file) => ({ file, name: file.name || "pasted picture" }));
  const made = added.map(({ file, name }) => (isClip(file) ? clip : figure)(name));
  taken.push(...files);
  figures.push(...made);
  at("photos").append(...made.map(({ element }) => element));
  at("clear").hidden = false;
  let refused = 0;
  for (const [place, { file, name }] of added.entries()) {
    tell(`Looking at ${name}, ${place + 1} of ${added.length}`);
    refused += !(await one(made[place], file, model, points));
    // It may have been cleared in the meantime.
    if (!made[place].element.isConnected) return;
  }
  const what = added.some(({ file }) => isClip(file)) ? "file" : "photo";
  const n = added.length - refused;
  if (!n) tell(`No ${what} could be looked at.`);
  else tell(`${n === 1 ? `One ${what} was` : `${n} ${what}s were`} looked at${refused ? `, ${refused} couldn't be` : ""}.`);
}

// Whether a file could be looked at.
async function one(shown, file, model, points) {
  try {
    const found = await shown.look(file, model, points);
    if (!shown.element.isConnected) return true;
    rows = rows.concat(found);
    fill(at("table").querySelector("table"), rows);
    at("table").hidden = false;
    return true;
  } catch (error) {
    shown.refuse(error.message);
    if (error.status === 401) at("token").hidden = false;
    return false;
  }
}

// By another model, or with points: what is shown is looked at anew.
function again() {
  const files = taken;
  clear();
  take(files);
  if (!cameraOff) return;
  cameraOff();
  at("camera").click();
}

function clear() {
  figures.forEach((shown) => shown.forget());
  figures = [];
  rows = [];
  taken = [];
  at("photos").replaceChildren();
  at("table").hidden = true;
  at("clear").hidden = true;
  tell("");
}

at("model").addEventListener("change", () => {
  about();
  again();
});
at("points").addEventListener("change", again);
at("files").addEventListener("change", ({ target }) => {
  take(target.files);
  target.value = "";
});
at("clear").addEventListener("click", clear);

at("drop").addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
// A camera that nobody sees is off.
window.addEventListener("hashchange", () => {
  if (at("photo-view").hidden) cameraOff?.();
});
document.addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData.files.length && !at("photo-view").hidden) take(clipboardData.files);
});

at("token").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(at("token").querySelector("input").value.trim());
  start();
});

at("camera").addEventListener("click", async () => {
  if (cameraOff) {
    cameraOff();
    return;
  }
  const button = at("camera");
  button.disabled = true;
  try {
    at("live").hidden = false;
    cameraOff = await turnOn(at("live"), at("model").value, at("points").checked, tell, () => {
      cameraOff = null;
      at("live").hidden = true;
      button.textContent = "Turn the camera on";
      button.setAttribute("aria-pressed", "false");
    });
    button.textContent = "Turn the camera off";
    button.setAttribute("aria-pressed", "true");
  } catch (error) {
    at("live").hidden = true;
    tell(`The camera can't be used: ${error.message}`);
  }
  button.disabled = false;
});

at("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(tabs(rows));
  tell("The table is copied.");
});
at("download").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv" }));
  make("a", { href: url, download: "faces.csv" }).click();
  URL.revokeObjectURL(url);
});

at("pictures").textContent = PICTURES;
start();
