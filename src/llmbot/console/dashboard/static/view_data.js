// The data store: each document with its state, looked at as the view opens; checked and mended by button.
import { act } from "./act.js";
import { find } from "./actions.js";
import { get, post } from "./api.js";
import { details } from "./details.js";
import { chip, h, tableOf } from "./dom.js";
import { bytes, fullTimeOf, joined, moment, number, span } from "./format.js";
import { Pane, Panes } from "./pane.js";
import { store } from "./store.js";
import { versionsButton } from "./versions.js";

const LIST = "/api/admin/datastore/status";
const VALIDATE_ALL = "datastore/validate-all";

export class DataView extends Panes {
  constructor(place) {
    let checked = null; // what a validation found is shown once, then it is looked at again
    const pane = new Pane("Documents", {
      read: async () => {
        const answer = checked ?? (await get(LIST));
        checked = null;
        return answer;
      },
      draw: (answer) => files(answer, pane),
      about: "Every write keeps versions; what is corrupt goes to quarantine and is never replaced by nothing.",
    });
    const check = h("button", { class: "primary", on: { click: () => validate(check, pane, (answer) => (checked = answer)) } }, "Validate all");
    if (find(VALIDATE_ALL)?.allowed) pane.again.before(check, act.button("datastore/backup", null, { then: () => pane.refresh() }) ?? "");
    super(place, "Data", [pane]);
  }
}

/** Check every document; one that is not valid makes it a refusal, which tells of all all the same. */
async function validate(button, pane, keep) {
  button.disabled = true;
  try {
    keep(await post(find(VALIDATE_ALL).path));
    await pane.refresh();
    pane.content.prepend(h("p", { role: "status" }, chip("good", "all valid"), " Each file was read and checked just now."));
  } catch (problem) {
    if (problem.body?.files) keep(problem.body);
    await pane.refresh();
    pane.content.prepend(h("p", { class: "failed", role: "alert" }, `${problem.message} “Recover” brings the newest valid version back.`));
  } finally {
    button.disabled = false;
  }
}

function files({ files: all, count, otherFiles }, pane) {
  const entries = Object.entries(all);
  const strange = Object.entries(otherFiles).filter(([, parses]) => !parses);
  return [
    strange.length ? h("p", { class: "failed" }, `No documents of the bot, and no JSON: ${strange.map(([name]) => name).join(", ")}.`) : null,
    count > entries.length ? h("p", { class: "small" }, `The first ${number(entries.length)} of ${number(count)} documents; “Validate all” reads them all.`) : null,
    entries.length ? table(entries, pane) : h("p", { class: "nothing" }, "There are none yet: the first is made when the bot has started."),
  ];
}

function table(entries, pane) {
  return tableOf(["State", "File", "Size", "Saved", "Older versions", ""], entries.map(([name, file]) => {
      const at = moment(file.savedAt);
      const { valid: good, status, bytes: size, generations, savedAt: _, ...rest } = file;
      return h("tr", {}, h("td", {}, chip(good ? "good" : "bad", status)),
        h("th", { scope: "row" }, h("details", {}, h("summary", {}, name), details(rest)), file.problem ? h("p", { class: "failed small" }, file.problem) : null),
        h("td", {}, joined(bytes(size))), h("td", { title: at === null ? "" : fullTimeOf(at) }, at === null ? "–" : `${span(store.now() - at)} ago`), h("td", {}, number(generations)),
        h("td", {}, h("div", { class: "buttons" },
          act.button("datastore/validate", name, { label: "Validate", then: () => pane.refresh(), "aria-label": `Validate ${name}` }),
          act.button("datastore/recover", name, { label: "Recover", asks: true, then: () => pane.refresh(), "aria-label": `Recover ${name}` }),
          versionsButton(name, { then: () => pane.refresh() }))));
    }), { class: "files" });
}
