// The first thing seen: what state, since when, because of what, what was switched, what comes next.
import { act } from "./act.js";
import { announce, byId, fill, h, icon, say } from "./dom.js";
import { countdown, moment, span, timeOf } from "./format.js";
import { store } from "./store.js";

export const KINDS = { healthy: "good", degraded: "warn", unhealthy: "bad", maintenance: "pause", starting: "wait" };
const TITLES = {
  healthy: "All is well",
  degraded: "Degraded",
  unhealthy: "Unhealthy",
  maintenance: "In maintenance",
  starting: "Starting",
};

export class Hero {
  constructor() {
    this.sign = h("span", { class: "hero-sign" });
    this.title = h("h1", {});
    this.since = h("p", { class: "hero-since" });
    this.reasons = h("ul", { class: "reasons" });
    this.next = h("ul", { class: "next", "aria-label": "What comes next" });
    this.buttons = h("div", { class: "buttons" });
    this.shown = "";
    fill(byId("hero"), this.sign, h("div", { class: "hero-words" }, this.title, this.since, this.reasons), h("div", { class: "hero-side" }, this.next, this.buttons));
    for (const topic of ["status", "degradation", "page"]) store.on(topic, () => this.draw());
    store.on("circuits", () => this.tick());
    store.on("connection", () => this.draw());
  }

  draw() {
    const { status: section, page, degradation } = store.sections;
    if (!section) return;
    const { status, reasons } = section;
    const hero = byId("hero");
    hero.className = `hero ${KINDS[status] ?? "wait"} ${store.connected ? "" : "stale"}`;
    if (this.shown !== status) {
      if (this.shown) announce(`The bot is now ${status}. ${reasons.join("; ")}`);
      this.shown = status;
      fill(this.sign, icon(KINDS[status] ?? "wait"));
      document.title = `${TITLES[status] ?? status} · llmbot`;
    }
    say(this.title, TITLES[status] ?? status);
    this.sinceAt = page?.statusSince ?? null;
    const said = this.#reasons(reasons, degradation);
    if (said.join("\n") !== this.said) {
      this.said = said.join("\n");
      fill(this.reasons, said.map((words) => h("li", {}, words)));
    }
    this.#buttons(degradation);
    this.tick();
  }

  /** What may be done has changed: the buttons are made anew. */
  offer() {
    this.maintenance = undefined;
    this.draw();
  }

  #reasons(reasons, degradation) {
    const said = reasons.map((reason) => reason.replace(/^(\w)/, (letter) => letter.toUpperCase()));
    const off = degradation?.switchedOff ?? degradation?.off ?? [];
    if (off.length) said.push(`To spare what matters: ${off.join(", ")}`);
    if (!said.length) said.push("Every part works, and messages are answered.");
    return said;
  }

  #buttons(degradation) {
    const on = Boolean(degradation?.maintenance) || this.shown === "maintenance";
    if (this.maintenance === on) return;
    this.maintenance = on;
    fill(this.buttons, act.button(on ? "maintenance/disable" : "maintenance/enable"));
  }

  /** Times that pass by themselves. */
  tick() {
    const now = store.now();
    const { status } = store.sections;
    if (!status) return;
    const since = this.sinceAt === null ? "" : `for ${span(now - this.sinceAt)}, since ${timeOf(this.sinceAt)}`;
    say(this.since, [since, `up ${span(status.uptimeSeconds)}`].filter(Boolean).join(" · "));
    const due = upcoming(now);
    const words = due.map(([what, at]) => `${what}|${countdown(at - now)}`).join("\n");
    if (words === this.due) return;
    this.due = words;
    fill(this.next, due.map(([what, at]) => h("li", {}, icon("next"), h("span", {}, what), h("strong", { class: "countdown" }, countdown(at - now)))));
  }
}

/** What the bot will do next, and when, in seconds since the epoch. */
export function upcoming(now) {
  const due = [];
  for (const [name, breaker] of Object.entries(store.sections.circuits ?? {})) {
    const at = moment(breaker?.nextProbeAt);
    if (breaker?.state === "open" && at !== null && at > now) due.push([`Probe of ${name}`, at]);
  }
  return due.sort(([, one], [, other]) => one - other).slice(0, 4);
}
