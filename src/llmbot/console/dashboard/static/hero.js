// The first thing seen: what state, since when, because of what, what was switched, what comes next.
import { act } from "./act.js";
import { announce, byId, fill, h, icon, say } from "./dom.js";
import { countdown, moment, span, timeOf } from "./format.js";
import { store } from "./store.js";

export const KINDS = { healthy: "good", degraded: "warn", unhealthy: "bad", maintenance: "pause", starting: "wait" };
const PROBE = "Probe of";
const TOLD = 2;
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
    this.account = h("dl", { class: "account-of-it", hidden: true });
    this.next = h("ul", { class: "next", "aria-label": "What comes next" });
    this.buttons = h("div", { class: "buttons" });
    this.shown = "";
    this.sinceAt = null;
    fill(byId("hero"), this.sign, h("div", { class: "hero-words" }, this.title, this.since, this.reasons, this.account), h("div", { class: "hero-side" }, this.next, this.buttons));
    for (const topic of ["status", "degradation", "page", "incident", "rails"]) store.on(topic, () => this.draw());
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
    this.#account();
    this.#buttons(degradation);
    this.tick();
  }

  /** Because of what, what was tried, what was refused and why: as long as an incident goes on. */
  #account() {
    const { incident, rails } = store.sections;
    this.account.hidden = !incident;
    const key = JSON.stringify([this.shown, incident?.id, incident?.causes, incident?.actions, incident?.refused, rails?.mode]);
    if (key === this.told) return;
    this.told = key;
    if (!incident) return;
    const cause = incident.causes.find((each) => !each.endedAt) ?? incident.causes.at(-1);
    const tried = incident.actions.slice(-TOLD);
    const refused = incident.refused.slice(-TOLD);
    const line = (title, ...words) => h("div", {}, h("dt", {}, title), h("dd", {}, words));
    const at = (each) => h("time", { class: "small" }, ` ${timeOf(moment(each.at))}`);
    fill(this.account,
      line(this.shown === "healthy" ? "Lately" : "Because", h("a", { href: `#incidents/${incident.id}` }, incident.title), cause?.evidence.length ? h("span", { class: "clamped", title: cause.evidence[0] }, cause.evidence[0]) : ""),
      line("Tried", tried.length ? tried.map((each) => h("p", {}, `${each.what}: ${each.effect}`, at(each))) : "Nothing yet beside the bot's own retries, breakers and queue."),
      refused.length ? line("Refused", refused.map((each) => h("p", {}, `${each.what}: ${each.why}`, at(each)))) : null,
      cause?.remedy ? line("For you", cause.remedy) : null);
  }

  /** What may be done has changed: the buttons are made anew. */
  offer() {
    this.maintenance = undefined;
    this.draw();
  }

  #reasons(reasons, degradation) {
    const said = reasons.map((reason) => reason.replace(/^(\w)/, (letter) => letter.toUpperCase()));
    const off = degradation?.switchedOff ?? degradation?.off ?? [];
    if (off.length) said.push(`To spare what matters: ${off.join(", ").replaceAll("_", " ")}`);
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
    const idle = due.length ? "" : this.shown === "healthy" ? "Nothing is due" : "No timer runs: the next reading or message decides";
    const words = idle || due.map(([what, at]) => `${what}|${left(at, now)}`).join("\n");
    if (words === this.due) return;
    this.due = words;
    fill(this.next, idle ? h("li", {}, idle) : due.map(([what, at]) => h("li", {}, icon("next"), h("span", {}, what), h("strong", { class: "countdown" }, left(at, now)))));
  }
}

/** A probe whose time has come needs a message to be it. */
const left = (at, now) => (at > now ? countdown(at - now) : "with the next message");

/** What the bot will do next, and when, in seconds since the epoch. */
export function upcoming(now) {
  const { circuits = {}, model, rails } = store.sections;
  const due = [];
  const add = (what, told) => {
    const at = moment(told);
    if (at !== null) due.push([what, at]);
  };
  for (const [name, breaker] of Object.entries(circuits)) if (breaker?.state === "open") add(`${PROBE} ${name}`, breaker.nextProbeAt);
  for (const [name, figures] of Object.entries(model?.models ?? {})) {
    for (const quota of Object.values(figures.quota)) if (quota.remaining === 0) add(`Quota of ${name} is back`, quota.resetsAt);
  }
  add("The pause of automation ends", rails?.pausedUntil);
  return due.filter(([what, at]) => at > now || what.startsWith(PROBE)).sort(([, one], [, other]) => one - other).slice(0, 4);
}
