// The data store: each document checked, the corrupt one recovered from its newest valid generation.
import { act } from "./act.js";
import { find } from "./actions.js";
import { post } from "./api.js";
import { details } from "./details.js";
import { chip, h } from "./dom.js";
import { bytes, fullTimeOf, joined, moment } from "./format.js";
import { Pane, Panes } from "./pane.js";
import { store } from "./store.js";

const VALIDATE_ALL = "datastore/validate-all";

export class DataView extends Panes {
  constructor(place) {
    const pane = new Pane("Documents", {
      read: () => ({ files: store.documents }), draw: (answer) => files(answer.files),
      about: "Every write keeps generations; what is corrupt goes to quarantine and is never replaced by nothing.",
    });
    const check = h("button", { class: "primary", on: { click: () => validate(check, pane) } }, "Validate all");
    if (find(VALIDATE_ALL)?.allowed) pane.again.before(check, act.button("datastore/backup") ?? "");
    pane.again.remove();
    super(place, "Data", [pane]);
  }
}

/** Check every document; one that is not valid makes it a refusal, which tells of all all the same. */
async function validate(button, pane) {
  button.disabled = true;
  try {
    store.documents = (await post(find(VALIDATE_ALL).path)).files;
    pane.refresh();
  } catch (problem) {
    if (problem.body?.files) store.documents = problem.body.files;
    await pane.refresh();
    pane.content.prepend(h("p", { class: "failed" }, problem.message));
  } finally {
    button.disabled = false;
  }
}

function files(all) {
  if (!all) return h("p", { class: "nothing" }, "“Validate all” reads and checks each file.");
  const entries = Object.entries(all);
  store.files = entries.map(([name]) => name);
  return h("div", { class: "table-wrap", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, ["State", "File", "Facts", ""].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, entries.map(([name, file]) => {
      const { valid: good, status, ...rest } = file;
      return h("tr", {}, h("td", {}, chip(good ? "good" : "bad", good ? "valid" : status)), h("th", { scope: "row" }, name),
        h("td", {}, h("details", {}, h("summary", { class: "small" }, summary(rest)), details(rest))),
        h("td", {}, h("div", { class: "buttons" },
          act.button("datastore/validate", name, { label: "Validate", "aria-label": `Validate ${name}` }),
          act.button("datastore/recover", name, { label: "Recover", asks: true, "aria-label": `Recover ${name}` }),
          act.button("datastore/restore", name, { label: "Restore", "aria-label": `Restore ${name}` }))));
    }))));
}

const summary = ({ problem, bytes: size, savedAt, generations }) => [
  problem, joined(bytes(size)), savedAt ? `saved ${fullTimeOf(moment(savedAt))}` : "", `${generations} older ${generations === 1 ? "version" : "versions"}`,
].filter(Boolean).join(" · ");
