// Circuit breakers, each drawn in place: a button under somebody's finger must not vanish.
import { act } from "./act.js";
import { chip, fill, h, say } from "./dom.js";
import { counted, countdown, moment } from "./format.js";

const KINDS = { closed: "good", open: "bad", "half-open": "wait" };

export class Breakers {
  #rows = new Map();
  element = h("ul", { class: "rows" });

  /** Show those that there are; `now` in seconds since the epoch. */
  show(breakers, now) {
    for (const [name, { row }] of this.#rows) {
      if (name in breakers) continue;
      row.remove();
      this.#rows.delete(name);
    }
    for (const [name, breaker] of Object.entries(breakers)) {
      if (!this.#rows.has(name)) this.#add(name);
      this.#draw(name, breaker, now);
    }
  }

  #add(name) {
    const parts = { state: h("span", {}), facts: h("span", { class: "row-facts" }), place: h("span", { class: "row-button" }), shown: "" };
    parts.row = h("li", {}, parts.state, h("strong", {}, name), parts.facts, parts.place);
    this.element.append(parts.row);
    this.#rows.set(name, parts);
  }

  #draw(name, breaker, now) {
    const parts = this.#rows.get(name);
    say(parts.facts, told(breaker, now));
    if (parts.shown === breaker.state) return;
    parts.shown = breaker.state;
    fill(parts.state, chip(KINDS[breaker.state] ?? "wait", breaker.state));
    const held = parts.place.contains(document.activeElement);
    const [id, label] = breaker.state === "closed" ? ["circuit/trip", "Trip"] : ["circuit/reset", "Reset"];
    fill(parts.place, act.button(id, name, { label, "aria-label": `${label} ${name}` }));
    if (held) parts.place.firstChild?.focus();
  }
}

function told(breaker, now) {
  const at = moment(breaker.nextProbeAt);
  const due = breaker.state !== "open" || at === null ? "" : at > now ? `probe in ${countdown(at - now)}` : "the next message is its probe";
  const why = breaker.state === "closed" ? "" : (breaker.lastError ?? breaker.reason);
  return [due, breaker.held ? "held by hand" : "", why, breaker.failures ? counted(breaker.failures, "failure") : ""].filter(Boolean).join(" · ");
}
