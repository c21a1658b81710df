// Drills: break one thing on purpose, and see how soon it was noticed and mended.
import { act } from "./act.js";
import { get, has } from "./api.js";
import { chip, h, tableOf } from "./dom.js";
import { fullTimeOf, moment, timeOf } from "./format.js";
import { Pane } from "./pane.js";

const PATH = "/api/drills";
const EVERY_S = 3;
const SHOWN = 30;

/** Nothing where the API has no drills, or people use the bot. */
export function drillsPane() {
  if (!has("GET", PATH)) return null;
  const pane = new Pane("Drills", {
    read: () => get(PATH), every: EVERY_S, about: "Each breaks one thing on purpose and scores how it was noticed, named and mended, and what users got.",
    draw: (answer) => (Object.keys(answer.drills).length ? drawn(answer, pane) : h("p", { class: "nothing" }, "Drills are for the demo; on a live bot the command line runs them: llmbot drill run NAME --live")),
  });
  return pane;
}

function drawn({ drills, running, trouble, scores }, pane) {
  return [
    h("div", { class: "buttons" },
      running ? chip("wait", `${running} runs…`) : act.button("drills/run", null, { label: "Run a drill", then: () => pane.refresh() }),
      trouble ? h("span", { class: "failed" }, trouble) : null),
    scores.length ? tableOf(["Score", "Drill", "Breaks", "Noticed after", "Mended after", "Cause and runbook", "Users", "At"], scores.slice(0, SHOWN).map((score) => row(score, drills)))
      : h("p", { class: "nothing" }, "None was run yet: “Run a drill” breaks one thing, watches it mend and puts the score here."),
  ];
}

const seconds = (value) => (value === null ? "never" : `${value.toFixed(1)} s`);
const right = (good, words) => chip(good ? "good" : "bad", good ? words : `wrong ${words}`);

function row(score, drills) {
  const at = moment(score.at);
  return h("tr", {}, h("td", {}, chip(score.passed ? "good" : "bad", score.passed ? "passed" : "failed")), h("th", { scope: "row" }, score.drill), h("td", {}, drills[score.drill] ?? "–"),
    h("td", {}, seconds(score.noticedAfterS)), h("td", {}, seconds(score.mendedAfterS)),
    h("td", {}, right(score.rightCause, "cause"), " ", right(score.rightRunbook, "runbook")),
    h("td", {}, score.lost || score.doubled ? chip("bad", `${score.lost} lost, ${score.doubled} doubled`) : chip("good", "nothing lost or doubled")),
    h("td", { title: fullTimeOf(at) }, timeOf(at)));
}
