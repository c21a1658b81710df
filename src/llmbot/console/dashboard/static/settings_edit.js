// Settings that can be changed while the bot runs: each judged by the bot, with the difference shown, before it is saved.
import { act } from "./act.js";
import { find } from "./actions.js";
import { post } from "./api.js";
import { chip, fill, h, icon, openDialog } from "./dom.js";

const CHANGE = "config/change";
const LONG = /8000|JSON/; // what is allowed of texts that want room

const empty = (value) => (value === "" ? h("span", { class: "nothing" }, "empty") : value);

/** The rows of a table, a head for each group. */
export function changeableRows(settings, again) {
  let group = "";
  return Object.entries(settings).flatMap(([name, setting]) => {
    const head = setting.group === group ? [] : [h("tr", { class: "group" }, h("th", { colspan: "3", scope: "colgroup" }, setting.group.replaceAll("_", " ")))];
    group = setting.group;
    return [...head, h("tr", { data: { name } },
      h("th", { scope: "row" }, h("code", {}, name), h("p", { class: "small" }, setting.what)),
      h("td", {}, h("span", { class: "value" }, empty(setting.value)), setting.unit && setting.value !== "" ? h("span", { class: "small" }, ` ${setting.unit}`) : null,
        setting.inFile === null ? null : h("p", { class: "small changed" }, icon("next"), "changed; else ", empty(setting.withoutFile))),
      h("td", {}, find(CHANGE)?.allowed ? h("button", { class: "quiet", "aria-label": `Change ${name}`, on: { click: () => edit(name, setting, again) } }, "Change") : null))];
  });
}

function edit(name, setting, again) {
  const input = field(setting);
  const reason = h("input", { name: "reason", maxlength: "200", autocomplete: "off" });
  const verdict = h("div", { class: "verdict", role: "status" }, h("p", { class: "small" }, "“Check” asks the bot whether it fits, and shows what would change."));
  const save = h("button", { class: "primary", value: "go", disabled: true }, "Save");
  const check = h("button", { class: "quiet", type: "button" }, "Check");
  const form = h("form", { method: "dialog", class: "ask" },
    h("h2", { id: "edit-title" }, "Change ", h("code", {}, name)), h("p", {}, `${setting.what}.`),
    h("p", { class: "small" }, [`Allowed: ${[setting.allowed, setting.unit].filter(Boolean).join(" ")}`, setting.why && `Default ${setting.why}`].filter(Boolean).join(". "), "."),
    h("label", {}, h("span", {}, "New value"), input), h("label", {}, h("span", {}, "Reason, for the audit"), reason), verdict,
    h("div", { class: "buttons" }, check, save,
      setting.inFile === null ? null : act.button(CHANGE, null, { word: "Take the change back", label: "Take the change back", type: "button", values: { reset: [name], settings: {}, dryRun: false }, then: () => (dialog.close(), again()) }),
      h("button", { class: "quiet", type: "button", on: { click: () => dialog.close() } }, "Leave it")));
  const dialog = openDialog({ "aria-labelledby": "edit-title" }, form);
  const wanted = () => ({ settings: { [name]: input.value }, reason: reason.value.trim() });
  let judged = null;
  input.addEventListener("input", () => (save.disabled = true));
  const judge = async () => {
    judged = input.value;
    const answer = await post(find(CHANGE).path, { ...wanted(), dryRun: true }).catch((problem) => problem);
    if (judged !== input.value) return; // it was typed on meanwhile
    const { difference = [] } = answer;
    save.disabled = answer instanceof Error || !difference.length;
    fill(verdict, answer instanceof Error ? [chip("bad", "Not valid"), h("p", {}, answer.message)]
      : difference.length ? [chip("good", "Valid"), h("p", { class: "small" }, "In force at once, for every message from then on:"), h("ul", {}, difference.map((line) => h("li", {}, h("code", {}, line.replace(" -> ", " → ")))))]
        : [chip("none", "Nothing differs from what is in force.")]);
  };
  check.addEventListener("click", judge);
  form.addEventListener("submit", (event) => {
    if (!save.disabled) return void act.perform(CHANGE, wanted(), `Change: ${name}`, again);
    event.preventDefault(); // Enter in a field that was not judged yet
    judge();
  });
  input.focus();
}

function field({ allowed, value, inFile }) {
  const now = String(inFile ?? value);
  const props = { name: "value", autocomplete: "off", spellcheck: "false" };
  if (allowed === "true or false") return h("select", props, ["true", "false"].map((each) => h("option", { value: each, selected: each === now }, each)));
  if (LONG.test(allowed)) return h("textarea", { ...props, rows: "6" }, now);
  return h("input", { ...props, value: now });
}
