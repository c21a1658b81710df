// The older versions of a document, each with a button that puts it in force again.
import { act } from "./act.js";
import { find } from "./actions.js";
import { filled, post } from "./api.js";
import { chip, fill, h, openDialog, tableOf } from "./dom.js";
import { bytes, fullTimeOf, joined, moment, span } from "./format.js";
import { store } from "./store.js";

const READ = "datastore/versions";

/** A button that lists the versions of `name`; `then` is done after one was restored. */
export function versionsButton(name, { word = "Restore…", then = null } = {}) {
  if (!find(READ)?.allowed) return null;
  return h("button", { class: "quiet", "aria-label": `Versions of ${name}`, on: { click: () => show(name, then) } }, word);
}

async function show(name, then) {
  const place = h("div", {}, h("p", { class: "small" }, "Reading…"));
  const dialog = openDialog({ class: "broad", "aria-labelledby": "versions-title" },
    h("header", {}, h("h2", { id: "versions-title" }, `Versions of ${name}`), h("button", { class: "quiet", on: { click: () => dialog.close() } }, "Close")),
    h("p", { class: "small" }, "What stands there now is kept as a version, so that a restore can be undone."), place);
  try {
    const { versions } = await post(filled(find(READ).path, { target: name }));
    fill(place, versions.length ? table(name, versions, then) : h("p", { class: "nothing" }, "None is kept yet: the first comes with the next change."));
  } catch (problem) {
    fill(place, h("p", { class: "failed" }, problem.message));
  }
}

function table(name, versions, then) {
  return tableOf(["State", "Saved", "Age", "Size", ""], versions.map((version) => {
      const at = moment(version.savedAt);
      const good = ["valid", "edited"].includes(version.status);
      return h("tr", {}, h("td", {}, chip(good ? "good" : "bad", version.status)), h("th", { scope: "row" }, fullTimeOf(at)), h("td", {}, span(store.now() - at)), h("td", {}, joined(bytes(version.bytes))),
        h("td", {}, good ? act.button("datastore/restore", name, { word: "Restore", label: "Restore", values: { at: version.savedAt }, then, "aria-label": `Restore the version of ${fullTimeOf(at)}` }) : null));
    }));
}
