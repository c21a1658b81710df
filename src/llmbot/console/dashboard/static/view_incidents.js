// What is wrong, why, what was tried and refused; incidents with their reports; what is automatic.
import { act } from "./act.js";
import { get, has, post } from "./api.js";
import { details } from "./details.js";
import { chip, fill, h, icon } from "./dom.js";
import { drillsPane } from "./drills.js";
import { counted, fullTimeOf, moment, number, percent, span, timeOf } from "./format.js";
import { Pane } from "./pane.js";
import { RunbookPanes } from "./runbooks.js";
import { store } from "./store.js";

const LISTED = 60;

export class IncidentsView {
  constructor(place, [wanted]) {
    this.now = h("div", {});
    this.list = h("ul", { class: "picks" });
    this.report = h("div", { class: "report" }, h("p", { class: "nothing" }, "Choose an incident to read its report."));
    this.chosen = wanted ?? null;
    this.runbooks = new RunbookPanes();
    const verify = has("POST", "/api/verify") ? new Pane("Validation checklist", { read: () => post("/api/verify"), draw: checklist, asked: "Go through it", about: "Looked at for real: services, breakers, what is outside, response times, and a message the whole way." }) : null;
    this.panes = [verify, ...this.runbooks.panes, drillsPane()].filter(Boolean);
    fill(place, h("h1", { class: "view-title" }, "Incidents"),
      h("section", { class: "panel", "aria-labelledby": "wrong-title" }, h("h2", { id: "wrong-title" }, "What is wrong now"), this.now),
      h("section", { class: "panel", "aria-labelledby": "incidents-title" }, h("h2", { id: "incidents-title" }, "Incidents"),
        h("div", { class: "split" }, this.#picker(), this.report)),
      this.panes.map((pane) => pane.element));
    this.stops = [store.on("diagnosis", () => this.#wrong()), store.on("incidents", () => this.#incidents())];
    this.#wrong();
    this.#incidents();
    if (this.chosen) this.#open(this.chosen);
  }

  leave() {
    for (const stop of this.stops) stop();
    for (const pane of this.panes) pane.leave();
  }

  // -- now ---------------------------------------------------------------------------------------

  #wrong() {
    const { diagnosis } = store.sections;
    if (!diagnosis) return;
    const key = JSON.stringify([diagnosis.well, diagnosis.storm, diagnosis.conditions, diagnosis.causes.map(({ forSeconds, ...rest }) => rest)]);
    if (key === this.wrongKey) return;
    this.wrongKey = key;
    fill(this.now,
      diagnosis.storm ? h("p", {}, chip("bad", "storm"), " So much goes wrong at once that only what is safe is done automatically.") : null,
      diagnosis.well ? h("p", {}, chip("good", "well"), " No sensor finds a cause for concern.") : diagnosis.causes.map((cause) => this.#cause(cause)),
      diagnosis.conditions?.length ? h("div", {}, h("h3", {}, "Conditions that last"), h("ul", { class: "rows" }, diagnosis.conditions.map((each) => h("li", {}, chip("warn", "lasts"), h("strong", {}, each.name), h("span", { class: "row-facts" }, each.evidence))))) : null,
      h("details", {}, h("summary", { class: "small" }, counted(Object.keys(diagnosis.sensors ?? {}).length, "sensor")), details(diagnosis.sensors ?? {})));
  }

  #cause(cause) {
    const began = store.now() - cause.forSeconds;
    const points = (title, all) => (all?.length ? h("div", {}, h("strong", { class: "small" }, title), h("ul", {}, all.map((words) => h("li", {}, words)))) : null);
    return h("article", { class: `cause ${cause.severity}` },
      h("p", {}, icon("warn"), " ", h("strong", {}, cause.what), h("span", { class: "small" }, ` · ${cause.severity} · ${percent(cause.confidence)} sure · since ${timeOf(began)}`)),
      points("Evidence", cause.evidence), points("Ruled out", cause.ruledOut), points("What follows from it", cause.consequences),
      h("p", { class: "small" }, cause.remedy),
      cause.runbook ? h("div", { class: "buttons" }, this.runbooks.dryRun(cause.runbook), this.runbooks.run(cause.runbook)) : null);
  }

  // -- incidents ---------------------------------------------------------------------------------

  #picker() {
    this.search = h("input", { type: "search", placeholder: "Search incidents…", "aria-label": "Search incidents", on: { input: () => this.#incidents() } });
    return h("div", { class: "picks" }, this.search, this.list);
  }

  #incidents() {
    const { incidents: section } = store.sections;
    if (!section) return;
    const wanted = this.search.value.trim().toLowerCase();
    const found = Object.values(section.incidents).filter((each) => JSON.stringify(each).toLowerCase().includes(wanted));
    fill(this.list, found.length ? found.slice(0, LISTED).map((each) => this.#pick(each)) : h("li", { class: "nothing" }, wanted ? "None of them." : "None so far."));
  }

  #pick(incident) {
    const opened = moment(incident.openedAt);
    const closed = moment(incident.closedAt);
    return h("li", {}, h("button", { class: "pick", "aria-current": this.chosen === incident.id ? "true" : null, on: { click: () => this.#open(incident.id) } },
      h("span", {}, chip(closed === null ? "warn" : "good", closed === null ? "goes on" : "over")),
      h("strong", {}, incident.title),
      h("span", { class: "small", title: fullTimeOf(opened) }, `${incident.id} · ${incident.severity} · ${timeOf(opened)}${closed === null ? "" : ` · ${span(closed - opened)}`}`)));
  }

  async #open(id) {
    this.chosen = id;
    history.replaceState(null, "", `#incidents/${encodeURIComponent(id)}`);
    this.#incidents();
    try {
      const report = await get(`/api/incidents/${encodeURIComponent(id)}`);
      if (this.chosen === id) fill(this.report, this.#drawReport(report));
    } catch (problem) {
      fill(this.report, h("p", { class: "failed" }, problem.message));
    }
  }

  #drawReport(report) {
    const lines = (title, all, draw) => (all?.length ? [h("h3", {}, title), h("ul", {}, all.map((each) => h("li", {}, draw(each))))] : null);
    const { impact = {} } = report;
    return [
      h("p", {}, chip(report.status === "open" ? "warn" : "good", report.status === "open" ? "goes on" : "over"), " ", h("strong", {}, report.title)),
      h("p", { class: "small" }, [`severity ${report.severity}`, `from ${fullTimeOf(moment(report.openedAt))}`, report.durationSeconds === null ? `for ${span(store.now() - moment(report.openedAt))}` : span(report.durationSeconds), report.reopened ? `opened again ${report.reopened}×` : ""].filter(Boolean).join(" · ")),
      Object.keys(impact).length ? h("p", {}, Object.entries(impact).map(([name, value]) => `${number(value)} ${name}`).join(", ")) : null,
      report.draft ? h("figure", { class: "draft" }, h("blockquote", {}, report.draft.text), h("figcaption", { class: "small" }, chip("warn", "drafted"), ` ${report.draft.mark} · ${report.draft.by} · ${timeOf(moment(report.draft.at))}`)) : null,
      lines("Why", report.causes, (cause) => [h("strong", {}, cause.what), ` (${percent(cause.confidence)} sure) `, cause.evidence.join("; ")]),
      lines("Tried", report.actions, (each) => `${timeOf(moment(each.at))} ${each.what}: ${each.effect}`),
      lines("Refused by the guard rails", report.refused, (each) => `${timeOf(moment(each.at))} ${each.what}: ${each.why}`),
      Object.keys(report.checks ?? {}).length ? [h("h3", {}, "Checked"), details(report.checks)] : null,
      lines("Notes", report.notes, (each) => `${timeOf(moment(each.at))} ${each.by}: ${each.text}`),
      h("div", { class: "buttons" },
        act.button("incidents/note", report.id, { label: "Add a note", then: () => this.#open(report.id) }),
        has("GET", "/api/incidents/{key}/report") ? h("a", { class: "button quiet", href: `/api/incidents/${encodeURIComponent(report.id)}/report`, target: "_blank", rel: "noopener" }, "Report in Markdown") : null),
      h("h3", {}, "Timeline"),
      h("ol", { class: "timeline", tabindex: "0", "aria-label": "Timeline" }, report.timeline.map((line) => h("li", {}, h("time", { title: `hash ${line.hash}` }, timeOf(moment(line.at))), h("span", {}, line.what)))),
    ];
  }
}

function checklist(answer) {
  return [
    h("p", {}, chip(answer.success ? "good" : "bad", answer.success ? "All passed" : "Not all passed")),
    h("ul", { class: "checks" }, answer.checks.map((check) => h("li", {}, chip(check.passed ? "good" : "bad", check.passed ? "passed" : "failed"), h("strong", {}, check.name), h("span", { class: "row-facts" }, check.detail)))),
  ];
}
