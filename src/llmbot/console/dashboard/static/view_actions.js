// Every action in one place, by what it is about, as the API lists them.
import { act } from "./act.js";
import { all } from "./actions.js";
import { fill, h, icon } from "./dom.js";

const ROLES = ["", "viewer", "operator", "admin"];

export class ActionsView {
  constructor(place) {
    const shown = all();
    const groups = [...new Set(shown.map((action) => action.group))];
    const filter = h("input", { type: "search", placeholder: "Find an action…", "aria-label": "Find an action", on: { input: () => this.#filter(filter.value) } });
    this.groups = groups.map((group) => h("section", { class: "action-group" }, h("h2", {}, group),
      h("ul", { class: "actions" }, shown.filter((action) => action.group === group).map((action) => card(action)))));
    fill(place, h("div", { class: "view-head" }, h("h1", { class: "view-title" }, "Actions"), filter),
      h("p", { class: "lead" }, shown.some((action) => action.allowed) ? "Each is validated before it reports success. What changes the bot leaves one record in the audit." : "You are signed in to look, not to act."),
      this.groups);
  }

  #filter(words) {
    const wanted = words.trim().toLowerCase();
    for (const group of this.groups) {
      let any = false;
      for (const item of group.querySelectorAll("li")) {
        item.hidden = !item.textContent.toLowerCase().includes(wanted);
        any ||= !item.hidden;
      }
      group.hidden = !any;
    }
  }

  leave() {}
}

function card(action) {
  const asks = Boolean(action.harm || action.targets.length || action.fields.some((field) => field.name !== "reason"));
  const word = asks ? "Choose" : "Run";
  return h("li", { class: "action", data: { path: action.path } },
    h("div", {}, h("strong", {}, action.label), h("p", {}, action.what), action.harm ? h("p", { class: "harm-words" }, icon("warn"), action.harm) : null),
    act.button(action.id, null, { word: asks ? `${word}…` : word, asks, "aria-label": `${word}: ${action.label}`, class: `${action.harm ? "harm" : "quiet"} ${asks ? "choose" : "run"}` }) ?? h("span", { class: "small" }, `needs ${ROLES[action.role]}`));
}
