// The last hour as a line: no axes, but a scale, a dot for now, and each point's words on demand.
import { h, say, svg } from "./dom.js";
import { timeOf } from "./format.js";

const WIDTH = 240;
const HEIGHT = 44;
const PAD = 3;
const STEPS = [30, 90, 180, 360]; // five minutes, a quarter, half an hour, an hour

/**
 * A sparkline that is updated in place.
 * `words(value)` tells a figure with its unit; `floor` is the least top of the scale, so that noise
 * near zero does not look like a storm.
 */
export class Spark {
  constructor(label, { words, floor = 1 }) {
    this.label = label;
    this.words = words;
    this.floor = floor;
    this.area = svg("path", { class: "spark-area" });
    this.line = svg("path", { class: "spark-line" });
    this.mark = svg("line", { class: "spark-mark", y1: 0, y2: HEIGHT });
    this.drawing = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.area, this.line, this.mark);
    this.tip = h("span", { class: "spark-tip", hidden: true });
    this.scale = h("span", { class: "spark-scale", "aria-hidden": "true" });
    this.element = h("div", { class: "spark-box" }, this.drawing, this.scale, this.tip);
    this.points = [];
    this.element.addEventListener("pointermove", (event) => this.#point(event));
    this.element.addEventListener("pointerleave", () => this.#leave());
  }

  /** Draw the points of `history`, one each `every` seconds, the last at `lastAt`. */
  draw(points, lastAt, every) {
    this.points = points;
    this.lastAt = lastAt;
    this.every = every;
    const known = points.filter((value) => value !== null);
    this.element.classList.toggle("spark-empty", known.length < 2);
    if (known.length < 2) {
      say(this.scale, "");
      this.drawing.setAttribute("aria-label", `${this.label}: too little is known of the last hour yet`);
      return;
    }
    const top = Math.max(this.floor, ...known);
    const slots = this.#slots();
    const minutes = Math.round((slots * every) / 60);
    say(this.scale, minutes < 60 ? `${minutes} min` : "1 hour");
    const x = (index) => PAD + ((slots - points.length + index) / (slots - 1)) * (WIDTH - 2 * PAD);
    const y = (value) => HEIGHT - PAD - (value / top) * (HEIGHT - 2 * PAD);
    let path = "";
    let first = null;
    let last = null;
    points.forEach((value, index) => {
      if (value === null) {
        last = null;
        return;
      }
      path += `${last === null ? "M" : "L"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      first ??= x(index);
      last = [x(index), y(value)];
    });
    this.line.setAttribute("d", path);
    const whole = points.every((value) => value !== null);
    this.area.setAttribute("d", whole && last ? `${path}L${last[0].toFixed(1)} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z` : "");
    this.drawing.setAttribute("aria-label", `${this.label} over the last hour: now ${this.words(known.at(-1))}, at most ${this.words(Math.max(...known))}`);
  }

  /** So wide is the drawing, in points: a bot that began a while ago has no hour to show yet. */
  #slots() {
    return STEPS.find((step) => step >= this.points.length) ?? this.points.length;
  }

  #point(event) {
    const { left, width } = this.element.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
    const slots = this.#slots();
    const index = Math.round(share * (slots - 1)) - (slots - this.points.length);
    const value = this.points[index];
    if (value === null || value === undefined) {
      this.#leave();
      return;
    }
    const at = this.lastAt - (this.points.length - 1 - index) * this.every;
    this.tip.textContent = `${this.words(value)} at ${timeOf(at)}`;
    this.tip.hidden = false;
    this.tip.classList.toggle("to-left", share > 0.5);
    const place = PAD + share * (WIDTH - 2 * PAD);
    this.mark.setAttribute("x1", place);
    this.mark.setAttribute("x2", place);
    this.mark.classList.add("shown");
  }

  #leave() {
    this.tip.hidden = true;
    this.mark.classList.remove("shown");
  }
}
