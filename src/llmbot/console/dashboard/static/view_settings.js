// Settings: what can be changed now, with its versions; and all that is in force, secrets as set or missing.
import { get } from "./api.js";
import { chip, fill, h, tableOf } from "./dom.js";
import { Pane, Panes } from "./pane.js";
import { changeableRows } from "./settings_edit.js";
import { versionsButton } from "./versions.js";

const CHECK = "/api/admin/config/validate";
const CHANGEABLE = "/api/admin/config/settings";
const FILE = "settings.json";

export class SettingsView extends Panes {
  constructor(place) {
    const both = () => [changes, all].forEach((pane) => pane.refresh());
    const changes = new Pane("Can be changed now", {
      read: CHANGEABLE, draw: ({ settings }) => found(changeableRows(settings, both), ["Setting", "Value", ""], "changeable"), tools: [versionsButton(FILE, { word: "Earlier versions…", then: both })],
      about: "Checked before it is saved, in force at once, recorded in the audit; every version is kept. Secrets and what needs a restart belong into .env.",
    });
    const live = h("button", { class: "quiet", on: { click: () => tryLive(all, live) } }, "Try the credentials for real");
    const all = new Pane("All that is in force", { read: CHECK, draw, about: "Secrets are shown as set or missing, never more.", tools: [live] });
    super(place, "Settings", [changes, all]);
  }
}

async function tryLive(pane, button) {
  button.disabled = true;
  try {
    fill(pane.content, draw(await get(`${CHECK}?live=true`)));
  } catch (problem) {
    fill(pane.content, h("p", { class: "failed" }, problem.message));
  } finally {
    button.disabled = false;
  }
}

/** A table whose rows are found by any word in them. */
function found(rows, titles, kind) {
  const filter = h("input", { type: "search", placeholder: "Find a setting…", "aria-label": `Find a setting: ${kind}` });
  filter.addEventListener("input", () => {
    const words = filter.value.trim().toLowerCase();
    for (const row of rows) row.hidden = words !== "" && (row.className === "group" || !row.textContent.toLowerCase().includes(words));
  });
  return [filter, tableOf(titles, rows, { hidden: true, class: `settings ${kind}` })];
}

function draw(answer) {
  const rows = Object.entries(answer.settings).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, name)), h("td", {}, value === "" ? h("span", { class: "nothing" }, "empty") : value)));
  return [
    h("p", {}, chip(answer.valid ? "good" : "bad", answer.valid ? "Valid" : "Not valid"), answer.live ? " Credentials were tried." : ""),
    messages("bad", answer.problems), messages("warn", answer.warnings),
    h("ul", { class: "rows" }, Object.entries(answer.checks).map(([name, check]) =>
      h("li", {}, chip(check.ok ? "good" : "bad", check.ok ? "works" : "fails"), h("strong", {}, name), h("span", { class: "row-facts" }, [check.detail, check.ok ? "" : check.remedy].filter(Boolean).join(" ")))),),
    found(rows, ["Setting", "Value"], "all"),
  ];
}

const messages = (kind, all) => (all.length ? h("ul", { class: "rows" }, all.map((words) => h("li", {}, chip(kind, kind === "bad" ? "wrong" : "mind"), h("span", {}, words)))) : null);
