// Actions of the API as buttons: what they do, a question before what harms, the result, the audit.
import { filled, has, post } from "./api.js";
import { ACTIONS } from "./actions.js";
import { chip, fill, h, openDialog } from "./dom.js";
import { details } from "./details.js";
import { joined, milliseconds } from "./format.js";

const RESULT_MS = 9000;

/** Whether the role of who is signed in may act at all. */
const mayAct = () => document.getElementById("account").dataset.role !== "viewer";

function find(id) {
  const action = ACTIONS.find((each) => each.id === id);
  return action && has("POST", action.path) ? action : null;
}

/** A button for an action; nothing where the API has no such path or the role may not. */
function button(id, values = {}, label = null, props = {}) {
  const action = find(id);
  return action && custom({ ...action, button: label ?? action.label }, values, props);
}

/** The same for an action that stands in no table; it asks where something is missing or harms. */
function custom(action, values = {}, props = {}) {
  if (!mayAct() || !has("POST", action.path)) return null;
  const open = action.fields.some((field) => values[field.name] === undefined);
  return h("button", {
    class: action.harm ? "harm" : "quiet", title: action.what, ...props,
    on: { click: () => (open || action.harm ? ask(action, values) : run(action, values)) },
  }, action.button ?? action.label);
}

/** Ask for what is missing, and whether it is meant. */
function ask(action, values) {
  const fields = action.fields.filter((field) => values[field.name] === undefined).map((field) => {
    const choices = field.choices?.() ?? [];
    const input = field.choices
      ? h("select", { name: field.name }, choices.map((choice) => h("option", { value: choice }, choice)))
      : h("input", { name: field.name, required: !field.optional, placeholder: field.hint ?? "", maxlength: "200", autocomplete: "off" });
    return h("label", {}, h("span", {}, field.label), input);
  });
  const named = Object.values(values).join(", ");
  const form = h("form", { method: "dialog", class: "ask" },
    h("h2", { id: "ask-title" }, named ? `${action.label}: ${named}` : action.label),
    h("p", {}, action.what), action.harm ? h("p", { class: "harm-words" }, action.harm) : null, fields,
    h("div", { class: "buttons" },
      h("button", { class: action.harm ? "harm solid" : "primary", value: "go" }, action.harm ? "Do it" : "Go"),
      h("button", { class: "quiet", value: "", type: "button", on: { click: () => dialog.close() } }, "Leave it")));
  const dialog = openDialog({ "aria-labelledby": "ask-title" }, form);
  form.addEventListener("submit", () => {
    const given = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    run(action, { ...values, ...given });
  });
}

/** Do it, and show what came of it. */
async function run(action, values) {
  const body = {};
  for (const field of action.fields) {
    if (action.path.includes(`{${field.name}}`) || values[field.name] === undefined) continue;
    body[field.name] = field.list ? [values[field.name]] : values[field.name];
  }
  const result = show(action, values);
  try {
    result.done(await post(filled(action.path, values), { ...action.body, ...body }));
    action.then?.();
  } catch (problem) {
    result.failed(problem);
  }
}

/** The place where results stand: the newest on top, each until it is closed or old. */
function show(action, values) {
  const place = document.getElementById("results") ?? document.body.appendChild(h("section", { id: "results", class: "results", "aria-label": "Results", "aria-live": "polite" }));
  const named = Object.values(values).join(", ");
  const title = named ? `${action.label}: ${named}` : action.label;
  const close = h("button", { class: "icon-button", "aria-label": "Close", on: { click: () => card.remove() } }, "×");
  const body = h("div", { class: "result-body" }, h("p", {}, "Under way…"));
  const card = h("article", { class: "result" }, h("header", {}, h("strong", {}, title), close), body);
  place.prepend(card);
  const leave = () => setTimeout(() => card.matches(":hover, :focus-within, [open], :has([open])") ? leave() : card.remove(), RESULT_MS);
  return {
    done(answer) {
      const good = answer.success !== false;
      fill(body, h("p", {}, chip(good ? "good" : "bad", good ? "Done" : "Not done"),
        answer.durationMs === undefined ? null : ` in ${joined(milliseconds(answer.durationMs))}`,
        answer.auditId ? [" · ", h("a", { href: `#audit/${answer.auditId}` }, `audit ${answer.auditId}`)] : null),
      h("details", {}, h("summary", {}, "Before and after"), details(trimmed(answer))));
      if (good) leave();
    },
    failed(problem) {
      fill(body, h("p", {}, chip("bad", "Not done"), ` ${problem.message}`), problem.remedy ? h("p", { class: "small" }, problem.remedy) : null,
        problem.body?.auditId ? h("p", { class: "small" }, h("a", { href: `#audit/${problem.body.auditId}` }, `audit ${problem.body.auditId}`)) : null);
      card.classList.add("bad");
    },
  };
}

const trimmed = ({ success, action, durationMs, auditId, ...rest }) => rest;

export const act = { button, custom, find, mayAct };
