// Actions of the API as buttons: what they do, a question before what harms, the result, the audit.
import { choices, find, learn } from "./actions.js";
import { filled, post } from "./api.js";
import { details } from "./details.js";
import { chip, fill, h, openDialog } from "./dom.js";
import { humanize, joined, milliseconds } from "./format.js";

const RESULT_MS = 9000;

/**
 * A button for an action; nothing where the API has none of this name or the role may not.
 * `target` fills the place in its path, `values` are fields that are settled, those in `needs` must
 * be filled in, `word` stands on the button in place of `label`, `harm` says what the API's list does
 * not; `then` is done after it.
 */
function button(id, target = null, { label = null, word = null, values = {}, needs = [], harm = null, then = null, asks = false, ...props } = {}) {
  const action = find(id);
  if (!action?.allowed) return null;
  const given = { ...values };
  if (target !== null && action.targets.length) given[action.targets[0].name] = target;
  const open = action.targets.some(({ name }) => given[name] === undefined) || action.fields.some((field) => field.required && given[field.name] === undefined);
  const task = { action, given, needs, harm: harm ?? action.harm, label: label ?? action.label, then };
  return h("button", {
    class: task.harm ? "harm" : "quiet", title: action.what, ...props,
    on: { click: () => (open || asks || task.harm ? ask(task) : run(task)) },
  }, word ?? task.label);
}

const titled = ({ action, given, label }) => [label, ...action.targets.map(({ name }) => given[name]).filter(Boolean)].join(": ");

/** Ask for what is missing, and whether it is meant. */
async function ask(task) {
  await learn().catch(() => null);
  const action = find(task.action.id) ?? task.action;
  const { given, harm } = task;
  const targets = await Promise.all(action.targets.filter(({ name }) => given[name] === undefined).map(async (target) => place(action, target, await choices(action, target))));
  const fields = action.fields.filter((field) => given[field.name] === undefined).map((field) => ({ field, input: input(field, task.needs.includes(field.name)) }));
  const form = h("form", { method: "dialog", class: "ask" },
    h("h2", { id: "ask-title" }, titled(task)),
    h("p", {}, `${action.what}.`.replace(/([.:!?])\.$/, "$1")), harm ? h("p", { class: "harm-words" }, harm) : null,
    targets, fields.map(({ field, input: each }) => h("label", { class: field.type === "flag" ? "check" : null }, h("span", {}, humanize(field.name)), each, field.hint ? h("span", { class: "small" }, field.hint) : null)),
    h("div", { class: "buttons" },
      h("button", { class: harm ? "harm solid" : "primary", value: "go" }, harm ? "Do it" : "Go"),
      h("button", { class: "quiet", value: "", type: "button", on: { click: () => dialog.close() } }, "Leave it")));
  const dialog = openDialog({ "aria-labelledby": "ask-title" }, form);
  form.addEventListener("submit", () => {
    const told = Object.fromEntries(action.targets.map(({ name }) => [name, form.elements[`target-${name}`]?.value]).filter(([, value]) => value !== undefined));
    for (const { field, input: each } of fields) {
      const value = read(field, each);
      if (value !== undefined) told[field.name] = value;
    }
    run({ ...task, given: { ...given, ...told } });
  });
}

function place(action, { name }, names) {
  const id = `target-${name}`;
  const element = names.length
    ? h("select", { name: id }, names.map((each) => h("option", { value: each }, each)))
    : h("input", { name: id, required: true, maxlength: "300", autocomplete: "off" });
  return h("label", {}, h("span", {}, name === "target" ? humanize(action.id.split("/")[0]) : humanize(name)), element);
}

function input(field, needed) {
  if (field.type === "choice") return h("select", { name: field.name }, field.choices.map((choice) => h("option", { value: choice, selected: choice === field.preset }, choice)));
  if (field.type === "flag") return h("input", { name: field.name, type: "checkbox", checked: field.preset === true });
  const type = { number: "number", time: "datetime-local" }[field.type] ?? "text";
  const preset = field.preset === null || typeof field.preset === "object" ? "" : field.preset;
  const required = field.required || needed;
  return h("input", {
    name: field.name, type, required, step: type === "text" ? null : "any", autocomplete: "off", maxlength: field.longest,
    value: required ? null : preset || null, placeholder: { pairs: "name=value, name=value", list: "name, name" }[field.type] ?? null,
  });
}

/** A field as the API wants it; nothing where it was left empty. */
function read(field, element) {
  if (field.type === "flag") return element.checked === (field.preset ?? false) ? undefined : element.checked;
  const value = element.value.trim();
  if (value === "") return undefined;
  if (field.type === "number") return Number(value);
  if (field.type === "time") return new Date(value).toISOString();
  if (field.type === "list") return value.split(",").map((each) => each.trim()).filter(Boolean);
  if (field.type === "pairs") return Object.fromEntries(value.split(",").map((pair) => pair.split("=").map((each) => each.trim())).filter(([name]) => name));
  return value;
}

/** Do it, and show what came of it. */
async function run(task) {
  const { action, given } = task;
  const inPath = new Set(action.targets.map(({ name }) => name));
  const body = Object.fromEntries(Object.entries(given).filter(([name]) => !inPath.has(name)));
  const result = show(titled(task));
  try {
    result.done(await post(filled(action.path, given), body));
    task.then?.();
  } catch (problem) {
    result.failed(problem);
  }
}

/** The place where results stand: the newest on top, each until it is closed or old. */
function show(title) {
  const home = document.getElementById("results") ?? document.body.appendChild(h("section", { id: "results", class: "results", "aria-label": "Results", "aria-live": "polite" }));
  const close = h("button", { class: "icon-button", "aria-label": "Close", on: { click: () => card.remove() } }, "×");
  const body = h("div", { class: "result-body" }, h("p", {}, "Under way…"));
  const card = h("article", { class: "result" }, h("header", {}, h("strong", {}, title), close), body);
  home.prepend(card);
  const leave = () => setTimeout(() => (card.matches(":hover, :focus-within, [open], :has([open])") ? leave() : card.remove()), RESULT_MS);
  return {
    done(answer) {
      const good = answer.success !== false;
      const more = trimmed(answer);
      fill(body, h("p", {}, chip(good ? "good" : "bad", good ? "Done" : "Not done"),
        answer.durationMs === undefined ? null : ` in ${joined(milliseconds(answer.durationMs))}`, audited(answer)),
      more.detail || more.reason ? h("p", {}, more.detail || more.reason) : null,
      Object.keys(more).length ? h("details", {}, h("summary", {}, "What it told"), details(more)) : null);
      if (good) leave();
    },
    failed({ message, remedy, body: told = {} }) {
      const more = trimmed(told);
      fill(body, h("p", {}, chip("bad", "Not done"), ` ${message}`, audited(told)), remedy ? h("p", { class: "small" }, remedy) : null,
        Object.keys(more).length ? h("details", {}, h("summary", {}, "What it told"), details(more)) : null);
      card.classList.add("bad");
    },
  };
}

const audited = ({ auditId }) => (auditId ? [" · ", h("a", { href: `#audit/${auditId}` }, "audit entry")] : null);
const SAID = new Set(["success", "action", "test", "durationMs", "auditId", "type", "title", "status", "code", "remedy"]);

/** What a result tells beside what is shown of it anyway; nothing that is empty. */
function trimmed(answer) {
  const empty = (value) => value === null || value === "" || (typeof value === "object" && !Object.keys(value).length);
  return Object.fromEntries(Object.entries(answer).filter(([name, value]) => !SAID.has(name) && !empty(value)));
}

/** Do what was asked about elsewhere. */
function perform(id, given, label, then) {
  return run({ action: find(id), given, label, then });
}

export const act = { button, perform };
