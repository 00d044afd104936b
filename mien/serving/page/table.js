// All faces as a table to look at, to copy and to download.

import { make } from "./faces.js";

const FIRST = ["path", "face", "answer", "uncertain"];
// Those that hold words, and those that count.
const WORDS = ["path", "answer", "uncertain", "model"];
const COUNTS = ["face", "track"];
// Of clips.
const MOVING = ["time", "track"];

function columns(rows) {
  const classes = new Set(rows.flatMap((row) => Object.keys(row.probabilities ?? {})));
  const moving = MOVING.filter((name) => rows.some((row) => typeof row[name] === "number"));
  return [...FIRST, ...moving, ...classes, "x", "y", "width", "height", "size", "model"];
}

function cell(row, column) {
  const box = ["x", "y", "width", "height"].indexOf(column);
  const value = box >= 0 ? row.box?.[box] : (row[column] ?? row.probabilities?.[column]);
  return value ?? "";
}

export function fill(table, rows) {
  const names = columns(rows);
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col", className: kind(name), textContent: name })));
  const lines = rows.map((row) =>
    make("tr", {}, ...names.map((name) => make("td", { className: kind(name), textContent: shown(cell(row, name), name) }))),
  );
  table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...lines));
}

function kind(name) {
  return WORDS.includes(name) ? "text" : "";
}

function shown(value, name) {
  return typeof value === "number" && !COUNTS.includes(name) ? value.toFixed(3) : String(value);
}

// A spreadsheet takes a text that begins so for a formula.
const FORMULA = /^[=+\-@\t\r]/;

function safe(value) {
  return typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value);
}

export function csv(rows) {
  const names = columns(rows);
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  return [names, ...rows.map((row) => names.map((name) => cell(row, name)))]
    .map((line) => `${line.map((value) => quoted(safe(value))).join(",")}\n`)
    .join("");
}

export function tabs(rows) {
  const names = columns(rows);
  return [names, ...rows.map((row) => names.map((name) => cell(row, name)))]
    .map((line) => line.map((value) => safe(value).replaceAll(/[\t\r\n]/g, " ")).join("\t"))
    .join("\n");
}
