// The data store: each document checked, the corrupt one recovered from its newest valid generation.
import { act } from "./act.js";
import { get, has, post } from "./api.js";
import { details } from "./details.js";
import { chip, fill, h } from "./dom.js";
import { humanize } from "./format.js";
import { Pane, Panes } from "./pane.js";
import { store } from "./store.js";

const VALIDATE_ALL = "/api/admin/datastore/validate-all";
const LIST = "/api/admin/datastore/files";

export class DataView extends Panes {
  constructor(place) {
    const read = has("GET", LIST) ? () => get(LIST) : async () => ({ files: null });
    const pane = new Pane("Documents", { read, about: "Every write keeps generations; what is corrupt goes to quarantine and is never replaced by nothing.", draw: (answer) => files(answer.files) });
    const check = h("button", { class: "primary", on: { click: async () => {
      check.disabled = true;
      try {
        fill(pane.content, files((await post(VALIDATE_ALL)).files));
      } catch (problem) {
        fill(pane.content, h("p", { class: "failed" }, problem.message));
      } finally {
        check.disabled = false;
      }
    } } }, "Validate all");
    if (act.mayAct()) pane.again.before(check);
    super(place, "Data", [pane]);
  }
}

function files(all) {
  if (!all) return h("p", { class: "nothing" }, "“Validate all” reads and checks each file.");
  const entries = Array.isArray(all) ? all.map((each) => [each.name ?? each.file, each]) : Object.entries(all);
  store.known = { ...store.known, files: entries.map(([name]) => name) };
  return h("div", { class: "table-wrap", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, ["State", "File", "Facts", ""].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, entries.map(([name, file]) => {
      const { valid, status, state, ...rest } = file;
      const good = valid ?? ["valid", "healthy", "ok"].includes(status ?? state);
      return h("tr", {}, h("td", {}, chip(good ? "good" : "bad", good ? "valid" : (status ?? state ?? "not valid"))), h("th", { scope: "row" }, name),
        h("td", {}, h("details", {}, h("summary", { class: "small" }, Object.entries(rest).filter(([, value]) => value !== null && typeof value !== "object").slice(0, 3).map(([key, value]) => `${humanize(key)} ${value}`).join(" · ") || "more"), details(rest))),
        h("td", {}, h("div", { class: "buttons" },
          act.button("datastore/validate/{fileName}", { fileName: name }, "Validate", { "aria-label": `Validate ${name}` }),
          act.button("datastore/recover/{fileName}", { fileName: name }, "Recover", { "aria-label": `Recover ${name}` }))));
    }))));
}
