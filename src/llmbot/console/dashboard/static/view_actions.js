// Every action in one place, by what it is about; what the API does not offer is not shown.
import { act } from "./act.js";
import { ACTIONS } from "./actions.js";
import { get, has } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { store } from "./store.js";

export class ActionsView {
  constructor(place) {
    const shown = ACTIONS.filter((action) => act.find(action.id));
    const groups = [...new Set(shown.map((action) => action.group))];
    const filter = h("input", { type: "search", placeholder: "Find an action…", "aria-label": "Find an action", on: { input: () => this.#filter(filter.value) } });
    this.groups = groups.map((group) => h("section", { class: "action-group" }, h("h2", {}, group),
      h("ul", { class: "actions" }, shown.filter((action) => action.group === group).map((action) => card(action)))));
    fill(place, h("div", { class: "view-head" }, h("h1", { class: "view-title" }, "Actions"), filter),
      h("p", { class: "lead" }, act.mayAct() ? "Each is validated before it reports success, and leaves one record in the audit." : "You are signed in to look, not to act."),
      this.groups);
    learn();
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
  return h("li", { class: "action" }, h("div", {}, h("strong", {}, action.label), h("p", {}, action.what), action.harm ? h("p", { class: "harm-words" }, icon("warn"), action.harm) : null),
    act.button(action.id, {}, action.harm || action.fields.length ? "Choose…" : "Run", { "aria-label": `${action.harm || action.fields.length ? "Choose" : "Run"}: ${action.label}` }));
}

/** Names that actions may be asked for and that no section tells. */
export async function learn() {
  store.known ??= {};
  if (has("GET", "/api/admin/mutex/status")) {
    const answer = await get("/api/admin/mutex/status").catch(() => ({}));
    store.known.mutexes = Object.keys(answer.mutexes ?? {});
  }
}
