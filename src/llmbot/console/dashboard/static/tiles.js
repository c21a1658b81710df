// One tile: a figure, its state as shape and word, a line of the last hour, a few facts.
import { chip, fill, h, say } from "./dom.js";

const STATE_WORDS = { good: "", warn: "degraded", bad: "unhealthy", wait: "not known yet", pause: "held" };

export class Tile {
  constructor(title, { spark = null, wide = false, id } = {}) {
    this.figure = h("span", { class: "figure" });
    this.unit = h("span", { class: "unit" });
    this.state = h("span", { class: "tile-state" });
    this.facts = h("p", { class: "tile-facts" });
    this.more = h("div", { class: "tile-more" });
    this.spark = spark;
    this.head = h("h3", {}, title);
    this.big = h("p", { class: "tile-figure" }, this.figure, this.unit);
    this.element = h("article", { class: `tile ${wide ? "wide" : ""}`, id: `tile-${id}`, "aria-label": title },
      h("header", {}, this.head, this.state), this.big, this.facts, this.more, spark?.element);
    this.kind = null;
  }

  /** `kind` is good, warn, bad, wait or pause. */
  show({ figure = "", unit = "", kind = "good", word, facts = "", more }) {
    say(this.figure, figure);
    say(this.unit, unit);
    this.big.hidden = figure === "";
    say(this.facts, facts);
    this.facts.hidden = !facts;
    const words = word ?? STATE_WORDS[kind];
    if (this.kind !== kind + words) {
      this.kind = kind + words;
      this.element.classList.remove("good", "warn", "bad", "wait", "pause");
      this.element.classList.add(kind);
      fill(this.state, words ? chip(kind, words) : null);
    }
    if (more !== undefined) fill(this.more, more);
  }

  /** Take the hour of one series. */
  hour(history, name) {
    const points = history?.series?.[name];
    if (points && this.spark) this.spark.draw(points, history.lastAt, history.everySeconds);
  }
}

/** A bar that is filled to a share; its figure stands in words beside it. */
export function meter(share, label, kind = "good") {
  const bar = h("span", { class: `meter ${kind}`, role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(share * 100)) }, h("i"));
  bar.firstChild.style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
  return bar;
}
