// Services in start order with what each needs, and the lesser parts: locks, limits, connections.
import { act } from "./act.js";
import { has } from "./api.js";
import { details } from "./details.js";
import { chip, h, tableOf } from "./dom.js";
import { fullTimeOf, joined, milliseconds, moment, number, span } from "./format.js";
import { Pane, Panes } from "./pane.js";
import { store } from "./store.js";

const KINDS = { healthy: "good", degraded: "warn", unhealthy: "bad" };
const EVERY_S = 3;
const READ = [
  ["/api/health/external/gemini", "Model provider", "Measured; a probe is kept for 15 seconds."],
  ["/api/health/external/discord", "Discord", ""],
  ["/api/admin/ratelimit/status", "Rate limits", "What was counted in each window.", ["ratelimit/reset"]],
  ["/api/admin/mutex/status", "Mutexes", "Who holds what, and who waits.", ["mutex/cleanup", "mutex/force-release", "mutex/reset-stats"], mutexes],
  ["/api/admin/mutex/deadlocks", "Deadlocks", "Cycles in who waits for whom."],
  ["/api/admin/race-condition/status", "Processed messages", "Duplicates stopped, by kind.", ["race-condition/clear"]],
  ["/api/health/memory/detailed", "Memory in detail", "Every cache, queue and store, the largest first.", ["gc", "cache/clear"]],
];

export class ServicesView extends Panes {
  constructor(place) {
    super(place, "Parts", [
      new Pane("Services", {
        about: "In start order. A restart takes those along that depend on it.", every: EVERY_S,
        read: async () => store.sections.services, draw: (answer) => services(answer?.services ?? {}),
      }),
      ...READ.filter(([path]) => has("GET", path) || has("GET", path.replace(/[^/]+$/, "{name}"))).map(([path, title, about, actions = [], draw = details]) =>
        new Pane(title, { read: path, about, draw: (answer) => draw(answer), tools: actions.map((id) => act.button(id)) })),
    ]);
  }
}

function mutexes({ mutexes: all }) {
  const ms = (value) => joined(milliseconds(value));
  if (!Object.keys(all).length) return h("p", { class: "nothing" }, "None was taken yet.");
  return tableOf(["Holder", "Mutex", "Waiting", "Taken", "Contended", "Longest wait", "Longest hold"], Object.entries(all).map(([name, { holder, waiters, figures }]) => h("tr", {},
      h("td", {}, holder ? chip(holder.gone ? "bad" : "wait", `${holder.gone ? "gone" : holder.reason || "held"} · ${ms(holder.heldForMs)}`) : chip("good", "free")), h("th", { scope: "row" }, name),
      h("td", { title: waiters.map((each) => `${each.reason}: ${ms(each.waitsForMs)}`).join("\n") }, number(waiters.length)), h("td", {}, number(figures.acquisitions)), h("td", {}, number(figures.contended)),
      h("td", {}, ms(figures.waitMaxMs)), h("td", {}, ms(figures.holdMaxMs)))));
}

function services(all) {
  return tableOf(["State", "Service", "Since", "Started in", "Restarts", "Last error", ""], Object.entries(all).map(([name, service]) => {
      const since = moment(service.since);
      return h("tr", {}, h("td", {}, chip(KINDS[service.health] ?? "wait", service.trouble || service.state)), h("th", { scope: "row" }, name),
        h("td", { title: since === null ? "" : fullTimeOf(since) }, since === null ? "–" : span(store.now() - since)),
        h("td", {}, joined(milliseconds(service.lastStartMs))), h("td", {}, `${service.restarts} · tasks ${service.taskRestarts}`),
        h("td", {}, service.lastError || "–"),
        h("td", {}, act.button("service/restart", name, { label: "Restart", "aria-label": `Restart ${name}` })));
    }));
}
