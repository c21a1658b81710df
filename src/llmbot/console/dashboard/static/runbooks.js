// What the bot does by itself: its runbooks, their runs, and the switches over all of it.
import { act } from "./act.js";
import { get, has } from "./api.js";
import { details } from "./details.js";
import { chip, h, tableOf } from "./dom.js";
import { counted, moment, timeOf } from "./format.js";
import { Pane } from "./pane.js";

const MODES = {
  act: "acts by itself",
  propose: "proposes, and acts when you approve",
  observe: "only watches: HEALING_MODE=act lets it act",
};
const EVERY_S = 5;
const RUNS_SHOWN = 50;
const TRIED = new Set(["mended", "failed", "rolled back"]);

export class RunbookPanes {
  constructor() {
    this.panes = has("GET", "/api/runbooks") ? [this.#rails(), this.#books(), this.#history()].filter(Boolean) : [];
  }

  dryRun(name) {
    return act.button("runbooks/run", name, { label: "Dry run", values: { dryRun: true, target: "" }, title: "Tells what it would do; changes nothing.", "aria-label": `Dry run of ${name}` });
  }

  run(name) {
    return act.button("runbooks/run", name, { label: "Run", values: { dryRun: false }, harm: "It acts on the running bot, through the same guard rails as when it runs by itself.", then: () => this.#again(), "aria-label": `Run ${name}` });
  }

  #again() {
    for (const pane of this.panes) pane.refresh();
  }

  /** The switches over all that is automatic; to put one back is to give no reason. */
  #switches(paused, killed) {
    const then = () => this.#again();
    return h("div", { class: "buttons" },
      paused ? act.button("runbooks/pause", null, { label: "End the pause", values: { reason: "" }, then }) : act.button("runbooks/pause", null, { label: "Pause automation", harm: "The bot does not mend itself meanwhile. Sensing and diagnosis go on.", needs: ["reason"], then }),
      killed ? act.button("runbooks/kill", null, { label: "Put the kill switch back", values: { reason: "" }, then }) : act.button("runbooks/kill", null, { label: "Kill switch", harm: "Everything automatic stops at once, and the bot does not mend itself until the switch is put back.", needs: ["reason"], then }));
  }

  #rails() {
    if (!has("GET", "/api/runbooks/rails")) return null;
    return new Pane("Automation", {
      read: "/api/runbooks/rails", every: EVERY_S, about: "What may act by itself, and how often.",
      draw: ({ mode, killed, paused, pausedUntil, storm, running, setAside, ...rest }) => [
        h("p", { class: "buttons" },
          killed ? chip("bad", `kill switch: ${killed}`) : paused ? chip("pause", `paused: ${paused}${pausedUntil ? `, until ${timeOf(moment(pausedUntil))}` : ""}`) : chip(mode === "act" ? "good" : "wait", MODES[mode] ?? mode),
          storm ? chip("warn", "storm") : null, running?.length ? chip("wait", `runs: ${[running].flat().join(", ")}`) : null),
        this.#switches(paused, killed),
        h("details", {}, h("summary", { class: "small" }, "Caps, journal, notices"), details({ ...rest, setAside })),
      ],
    });
  }

  #books() {
    return new Pane("Runbooks", {
      about: "Each names the causes that it mends and the steps that it takes; trusted is what it earned in this life of the bot.",
      read: async () => ({ ...(await get("/api/runbooks")), trust: earned((await get("/api/runbooks/history")).runs) }),
      draw: ({ runbooks, trust }) => tableOf(["Runbook", "For", "Steps", "State", "Trust", ""], Object.values(runbooks).map((book) => h("tr", {},
          h("th", { scope: "row" }, book.title, h("div", { class: "small" }, book.name)), h("td", {}, book.causes.join(", ")), h("td", {}, book.steps.join(" → ") || h("span", { class: "small" }, book.people?.join(" ") || "–")),
          h("td", {}, book.setAside ? chip("pause", `set aside: ${book.setAside}`) : book.asks.length ? chip("warn", `asks: ${book.asks.join(", ")}`) : chip("good", "ready")),
          h("td", {}, trust[book.name] ?? "–"),
          h("td", {}, h("div", { class: "buttons" }, this.dryRun(book.name), this.run(book.name),
            book.asks.length || book.setAside ? act.button("runbooks/approve", book.name, { label: "Approve", then: () => this.#again(), "aria-label": `Approve ${book.name}` }) : null))))),
    });
  }

  #history() {
    if (!has("GET", "/api/runbooks/history")) return null;
    return new Pane("Runs", {
      read: "/api/runbooks/history", every: EVERY_S,
      draw: ({ runs }) => (runs.length ? tableOf(["At", "Runbook", "For", "By", "Outcome", "Steps"], runs.slice(0, RUNS_SHOWN).map((run) => h("tr", {},
          h("td", {}, timeOf(moment(run.at))), h("th", { scope: "row" }, run.runbook), h("td", {}, [run.cause, run.subjects].flat().filter(Boolean).join(", ")), h("td", {}, run.by || "itself"),
          h("td", {}, chip(OUTCOMES[run.outcome] ?? "wait", run.outcome), run.reason ? h("div", { class: "small" }, run.reason) : null),
          h("td", {}, run.steps.length ? h("details", {}, h("summary", { class: "small" }, counted(run.steps.length, "step")), h("ol", { class: "timeline" }, run.steps.map(step))) : "–")))) : h("p", { class: "nothing" }, "No runbook has run yet.")),
    });
  }
}

const OUTCOMES = { mended: "good", "nothing to do": "good", told: "good", failed: "bad", aborted: "bad", "rolled back": "warn", refused: "pause", "awaits approval": "pause" };

const step = ({ at, what, ...rest }) => h("li", {}, h("time", {}, timeOf(moment(at))), h("span", {}, [what.replace("step.", ""), ...Object.values(rest).filter((each) => typeof each === "string" && each)].join(" · ")));

/** Of how many runs each runbook mended what it was run for; a run that still goes on says nothing. */
function earned(runs) {
  const all = {};
  for (const { runbook, outcome } of runs) {
    if (!TRIED.has(outcome)) continue;
    const one = (all[runbook] ??= { tried: 0, mended: 0 });
    one.tried += 1;
    one.mended += outcome === "mended";
  }
  return Object.fromEntries(Object.entries(all).map(([name, { tried, mended }]) => [name, `mended ${mended} of ${tried}`]));
}
