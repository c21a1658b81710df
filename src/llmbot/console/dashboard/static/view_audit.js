// Who did what, the newest first: each record with the state before and after, found by any word.
import { get } from "./api.js";
import { details } from "./details.js";
import { chip, fill, h } from "./dom.js";
import { fullTimeOf, joined, milliseconds, moment, timeOf } from "./format.js";
import { store } from "./store.js";

const READ = "/api/admin/audit?count=500";
const KINDS = { done: ["good", "done"], refused: ["pause", "refused"], failed: ["bad", "failed"], interrupted: ["bad", "interrupted"] };
const SHOWN = 100;

export class AuditView {
  constructor(place, [wanted]) {
    this.records = [];
    this.open = new Set(wanted ? [wanted] : []);
    this.search = h("input", { type: "search", placeholder: "Search audit and incidents…", "aria-label": "Search the audit and the incidents", value: wanted ?? null, on: { input: () => this.draw() } });
    this.count = h("p", { class: "small", role: "status" });
    this.list = h("ul", { class: "audit" });
    this.incidents = h("ul", { class: "audit" });
    this.others = h("section", { class: "panel" }, h("h2", {}, "Incidents that match"), this.incidents);
    fill(place, h("div", { class: "view-head" }, h("h1", { class: "view-title" }, "Audit"), h("div", { class: "buttons" }, this.search, h("button", { class: "quiet", on: { click: () => this.read() } }, "Read again"))),
      h("p", { class: "lead" }, "Each action leaves one record: who, what, the state before and after, and what came of it. Records are chained, so that none can be changed or cut unseen; ", h("code", {}, "llmbot audit verify"), " proves it."),
      this.others, h("section", { class: "panel" }, h("h2", {}, "Records"), this.count, this.list));
    this.stop = store.on("incidents", () => this.draw());
    this.read();
  }

  leave() {
    this.stop();
  }

  async read() {
    try {
      this.records = (await get(READ)).records.reverse();
      this.draw();
    } catch (problem) {
      fill(this.list, h("li", { class: "failed" }, problem.message));
    }
  }

  draw() {
    const words = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const holds = (each) => {
      const text = JSON.stringify(each).toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const found = this.records.filter(holds);
    this.count.textContent = !this.records.length ? "" : words.length ? `${found.length} of the last ${this.records.length} records` : `The last ${this.records.length} records`;
    fill(this.list, found.length ? found.slice(0, SHOWN).map((record) => this.#record(record)) : h("li", { class: "nothing" }, this.records.length ? "None of them." : "Nobody has done anything yet."));
    const incidents = words.length ? Object.values(store.sections.incidents?.incidents ?? {}).filter(holds) : [];
    this.others.hidden = !incidents.length;
    fill(this.incidents, incidents.slice(0, SHOWN).map((each) => h("li", {}, h("a", { href: `#incidents/${each.id}` }, each.title), h("span", { class: "small" }, ` ${each.id} · ${each.severity} · ${timeOf(moment(each.openedAt))}`))));
  }

  #record(record) {
    const at = moment(record.at);
    const [kind, word] = KINDS[record.outcome] ?? ["wait", record.outcome];
    const { options, before, after, detail, code, number, id } = record;
    const more = h("details", { open: this.open.has(id) },
      h("summary", {}, chip(kind, word), h("strong", {}, [record.action, record.target].filter(Boolean).join(" ")),
        h("span", { class: "small" }, `by ${record.who} · ${joined(milliseconds(record.durationMs))}`), h("time", { class: "small", title: fullTimeOf(at) }, timeOf(at))),
      details(told({ detail, code, asked: told(options), before, after, record: `number ${number}, id ${id}` })));
    more.addEventListener("toggle", () => (more.open ? this.open.add(id) : this.open.delete(id)));
    return h("li", {}, more);
  }
}

/** What says something; an empty word or list says nothing. */
const told = (all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && value !== "" && (typeof value !== "object" || Object.keys(value).length)));
