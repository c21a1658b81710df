// What happened: states that changed, what was tried, what was refused and why.
import { fill, h, icon } from "./dom.js";
import { fullTimeOf, timeOf } from "./format.js";
import { store } from "./store.js";

const MARKS = { debug: "none", info: "next", warning: "warn", error: "bad" };
const WORDS = { debug: "", info: "", warning: "Warning: ", error: "Error: " };
const SHOWN = 60;

export class Happenings {
  constructor() {
    this.element = h("ol", { class: "happenings", tabindex: "0", "aria-label": "What happened, the newest first" });
    this.drawn = new Map();
    this.stop = store.on("happenings", () => this.draw());
    this.draw();
  }

  leave() {
    this.stop();
  }

  draw() {
    const newest = [...store.happenings.values()].sort((one, other) => other.number - one.number).slice(0, SHOWN);
    const rows = newest.map((each) => {
      const key = `${each.number}/${each.count}`;
      const known = this.drawn.get(key);
      return known ?? this.#row(key, each);
    });
    if (!rows.length) {
      fill(this.element, h("li", { class: "nothing" }, "Nothing yet."));
      return;
    }
    const wanted = new Set(rows);
    for (const [key, row] of this.drawn) if (!wanted.has(row)) this.drawn.delete(key);
    const same = this.element.childElementCount === rows.length && rows.every((row, index) => this.element.children[index] === row);
    if (!same) fill(this.element, rows);
  }

  #row(key, each) {
    const row = h("li", { class: each.level }, icon(MARKS[each.level] ?? "none"),
      h("time", { title: fullTimeOf(each.at) }, timeOf(each.at)),
      h("span", { title: each.words }, h("span", { class: "sr-only" }, WORDS[each.level] ?? ""), each.words,
        each.count > 1 ? h("span", { class: "times" }, ` ×${each.count}`) : null));
    this.drawn.set(key, row);
    return row;
  }
}
