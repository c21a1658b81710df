// The settings in force: secrets only as set or missing; what is wrong with them; credentials tried.
import { get } from "./api.js";
import { chip, fill, h } from "./dom.js";
import { Pane, Panes } from "./pane.js";

const CHECK = "/api/admin/config/validate";

export class SettingsView extends Panes {
  constructor(place) {
    const live = h("button", { class: "quiet", on: { click: () => tryLive(pane, live) } }, "Try the credentials for real");
    const pane = new Pane("Settings in force", { read: CHECK, draw, about: "Secrets are shown as set or missing, never more.", tools: [live] });
    super(place, "Settings", [pane]);
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

function draw(answer) {
  const filter = h("input", { type: "search", placeholder: "Find a setting…", "aria-label": "Find a setting" });
  const rows = Object.entries(answer.settings).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, name)), h("td", {}, value === "" ? h("span", { class: "nothing" }, "empty") : value)));
  filter.addEventListener("input", () => {
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(filter.value.trim().toLowerCase());
  });
  return [
    h("p", {}, chip(answer.valid ? "good" : "bad", answer.valid ? "Valid" : "Not valid"), answer.live ? " Credentials were tried." : ""),
    messages("bad", answer.problems), messages("warn", answer.warnings),
    h("ul", { class: "rows" }, Object.entries(answer.checks).map(([name, check]) =>
      h("li", {}, chip(check.ok ? "good" : "bad", check.ok ? "works" : "fails"), h("strong", {}, name), h("span", { class: "row-facts" }, [check.detail, check.ok ? "" : check.remedy].filter(Boolean).join(" ")))),),
    filter,
    h("div", { class: "table-wrap" }, h("table", { class: "settings" }, h("thead", { class: "sr-only" }, h("tr", {}, h("th", { scope: "col" }, "Setting"), h("th", { scope: "col" }, "Value"))), h("tbody", {}, rows))),
  ];
}

const messages = (kind, all) => (all.length ? h("ul", { class: "rows" }, all.map((words) => h("li", {}, chip(kind, kind === "bad" ? "wrong" : "mind"), h("span", {}, words)))) : null);
