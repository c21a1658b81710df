// Any answer of the API as something to read: keys as words, figures with their units, no JSON.
import { h, tableOf } from "./dom.js";
import { bytes, fullTimeOf, humanize, joined, milliseconds, moment, number, span, timeOf } from "./format.js";

const DEPTH_MAX = 5;
const LONG = 60; // characters that want a line of their own

/** One value with the unit that its key names. */
export function figure(key, value) {
  if (value === null || value === undefined || value === "") return h("span", { class: "nothing" }, "–");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") {
    if (key === "trend") return `${joined(bytes(value))} a minute`;
    if (/bytes?$|^heap|size$|^(?:limit|resident|unique|virtual)$/i.test(key) && Math.abs(value) > 999) return h("span", { title: `${value} bytes` }, joined(bytes(value)));
    if (/(?:[a-z]Ms|^ms)$/.test(key)) return joined(milliseconds(value));
    if (/(?:[sS]econds|[aA]ge)$/.test(key) && value < 1e9) return span(value);
    if (/(?:At|Since|^since|^at)$/.test(key)) return when(value);
    if (/percent$/i.test(key)) return `${number(value)} %`;
    return number(value);
  }
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return when(value);
  return String(value);
}

/** A key as words; the unit at its end stands beside the figure. Names of things stay as they are. */
const titleOf = (key) => (/^[a-z][a-zA-Z\d]*$/.test(key) ? humanize(key === "trendSeconds" ? "trendOver" : key.replace(/(?<=[a-z])(?:Ms|Seconds|Bytes|Percent)$/, "")) : key);

function when(value) {
  const at = moment(value);
  return at === null ? String(value) : h("time", { title: fullTimeOf(at) }, timeOf(at));
}

const isPlain = (value) => value === null || typeof value !== "object";
const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** Records of the same shape by name: a table says more than nested lists. */
function isTable(value) {
  const rows = Object.values(value);
  if (rows.length < 2 || !rows.every(isRecord)) return false;
  const keys = Object.keys(rows[0]);
  return keys.length > 1 && keys.length < 9 && rows.every((row) => Object.values(row).every((each) => isPlain(each) || Array.isArray(each)));
}

/** A value, however deep, as elements. */
export function details(value, key = "", depth = 0) {
  if (isPlain(value)) return h("span", {}, figure(key, value));
  if (depth > DEPTH_MAX) return h("span", {}, "…");
  if (Array.isArray(value)) return list(value, key, depth);
  const entries = Object.entries(value);
  if (!entries.length) return h("span", { class: "nothing" }, "none");
  if (isTable(value)) return table(entries);
  const simple = entries.filter(([, each]) => isPlain(each) || !Object.keys(each).length || (Array.isArray(each) && each.every(isPlain)));
  const deep = entries.filter((entry) => !simple.includes(entry));
  return h("div", { class: "details" },
    simple.length ? h("dl", {}, simple.map(([name, each]) => h("div", { class: String(each).length > LONG ? "wide-field" : null }, h("dt", {}, titleOf(name)), h("dd", {}, details(each, name, depth + 1))))) : null,
    deep.map(([name, each]) => h("section", {}, h("h4", {}, titleOf(name)), details(each, name, depth + 1))));
}

function list(value, key, depth) {
  if (!value.length) return h("span", { class: "nothing" }, "none");
  if (value.every(isPlain)) return h("span", {}, value.map((each) => String(each)).join(", "));
  if (value.every(isRecord) && isTable(Object.fromEntries(value.entries()))) return table(Object.entries(value), false);
  return h("ul", { class: "detail-list" }, value.map((each) => h("li", {}, details(each, key, depth + 1))));
}

function table(entries, named = true) {
  const keys = [...new Set(entries.flatMap(([, row]) => Object.keys(row)))];
  return tableOf([...(named ? ["Name"] : []), ...keys.map(titleOf)], entries.map(([name, row]) => h("tr", {}, named ? h("th", { scope: "row" }, name) : null,
    keys.map((key) => h("td", {}, isPlain(row[key]) ? figure(key, row[key]) : details(row[key], key, DEPTH_MAX - 1))))));
}
