// What the bot does by itself: its runbooks, their runs, and the switches over all of it.
import { act } from "./act.js";
import { has } from "./api.js";
import { details } from "./details.js";
import { chip, h } from "./dom.js";
import { moment, timeOf } from "./format.js";
import { Pane } from "./pane.js";

const NAME = { name: "name" };
const EVERY_S = 5;

export class RunbookPanes {
  constructor() {
    const again = () => this.panes.forEach((pane) => pane.refresh());
    this.actions = {
      dry: { label: "Dry run", what: "Tells what it would do; changes nothing.", path: "/api/runbooks/{name}/run", fields: [NAME], body: { dryRun: true } },
      run: {
        label: "Run", what: "Runs it now, through the same guard rails as when it runs by itself.", path: "/api/runbooks/{name}/run",
        fields: [NAME, { name: "target", label: "Target (if it needs one)", optional: true, hint: "a model or file" }], harm: "It acts on the running bot.", then: again,
      },
      approve: { label: "Approve", what: "Says yes to what it asked, and lets it act again if it was set aside.", path: "/api/runbooks/{name}/approve", fields: [NAME], then: again },
      pause: { label: "Pause automation", what: "Nothing is done automatically until you end the pause; sensing and diagnosis go on.", path: "/api/runbooks/pause", fields: [{ name: "reason", label: "Reason" }], harm: "The bot does not mend itself meanwhile.", then: again },
      goOn: { label: "End the pause", what: "Automation goes on.", path: "/api/runbooks/pause", fields: [], then: again },
      kill: { label: "Kill switch", what: "Stops everything automatic at once.", path: "/api/runbooks/kill", fields: [{ name: "reason", label: "Reason" }], harm: "The bot does not mend itself until the switch is put back.", then: again },
      unkill: { label: "Put the kill switch back", what: "Automation may act again.", path: "/api/runbooks/kill", fields: [], then: again },
    };
    this.panes = has("GET", "/api/runbooks") ? [this.#rails(), this.#books(), this.#history()].filter(Boolean) : [];
  }

  dryRun(name) {
    return act.custom(this.actions.dry, { name }, { "aria-label": `Dry run of ${name}` });
  }

  run(name) {
    return act.custom(this.actions.run, { name }, { "aria-label": `Run ${name}` });
  }

  #rails() {
    if (!has("GET", "/api/runbooks/rails")) return null;
    return new Pane("Automation", {
      read: "/api/runbooks/rails", every: EVERY_S, about: "What may act by itself, and how often.",
      draw: ({ mode, killed, paused, storm, running, setAside, ...rest }) => [
        h("p", { class: "buttons" },
          killed ? chip("bad", `kill switch: ${killed}`) : paused ? chip("pause", `paused: ${paused}`) : chip("good", `mode ${mode}`),
          storm ? chip("warn", "storm") : null, running?.length ? chip("wait", `runs: ${[running].flat().join(", ")}`) : null),
        h("div", { class: "buttons" },
          act.custom(paused ? this.actions.goOn : this.actions.pause), act.custom(killed ? this.actions.unkill : this.actions.kill)),
        h("details", {}, h("summary", { class: "small" }, "Caps, journal, notices"), details({ ...rest, setAside })),
      ],
    });
  }

  #books() {
    return new Pane("Runbooks", {
      read: "/api/runbooks", about: "Each names the causes that it mends and the steps that it takes.",
      draw: ({ runbooks }) => h("div", { class: "table-wrap", tabindex: "0" }, h("table", {},
        h("thead", {}, h("tr", {}, ["Runbook", "For", "Steps", "State", ""].map((title) => h("th", { scope: "col" }, title)))),
        h("tbody", {}, Object.values(runbooks).map((book) => h("tr", {},
          h("th", { scope: "row" }, book.title, h("div", { class: "small" }, book.name)), h("td", {}, book.causes.join(", ")), h("td", {}, book.steps.join(" → ")),
          h("td", {}, book.setAside ? chip("pause", `set aside: ${book.setAside}`) : book.asks.length ? chip("warn", `asks: ${book.asks.join(", ")}`) : chip("good", "ready")),
          h("td", {}, h("div", { class: "buttons" }, this.dryRun(book.name), this.run(book.name),
            book.asks.length || book.setAside ? act.custom(this.actions.approve, { name: book.name }, { "aria-label": `Approve ${book.name}` }) : null))))))),
    });
  }

  #history() {
    if (!has("GET", "/api/runbooks/history")) return null;
    return new Pane("Runs", {
      read: "/api/runbooks/history", every: EVERY_S,
      draw: ({ runs }) => (runs.length ? h("div", { class: "table-wrap", tabindex: "0" }, h("table", {},
        h("thead", {}, h("tr", {}, Object.keys(runs[0]).map((key) => h("th", { scope: "col" }, key)))),
        h("tbody", {}, runs.slice(0, 50).map((run) => h("tr", {}, Object.entries(run).map(([key, value]) =>
          h("td", {}, key === "at" ? timeOf(moment(value)) : typeof value === "object" && value !== null ? details(value, key, 3) : String(value ?? "–")))))))) : h("p", { class: "nothing" }, "No runbook has run yet.")),
    });
  }
}
