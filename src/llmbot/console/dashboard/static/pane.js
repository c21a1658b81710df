// What the views that ask once have in common: a title, reading, reading again, saying what failed.
import { get } from "./api.js";
import { fill, h } from "./dom.js";

const READING = "Reading…";

/** A titled part of a view that shows what `read` brings, and reads again when it is told to. */
export class Pane {
  /** `draw(answer)` makes the content; `every` in seconds reads again while it is seen.
   * With `asked` nothing is read before the button that it names is pressed. */
  constructor(title, { read, draw, about = "", tools = [], every = 0, asked = "" }) {
    this.read = typeof read === "string" ? () => get(read) : read;
    this.drawn = draw;
    this.content = h("div", { class: "pane-content" }, asked ? null : h("p", { class: "small" }, READING));
    this.again = h("button", { class: "quiet", on: { click: () => this.refresh() } }, asked || "Read again");
    this.element = h("section", { class: "panel" },
      h("header", { class: "panel-head" }, h("div", {}, h("h2", {}, title), about ? h("p", { class: "small" }, about) : null), h("div", { class: "buttons" }, tools, this.again)), this.content);
    this.timer = every ? setInterval(() => document.hidden || this.refresh(true), every * 1000) : 0;
    if (!asked) this.refresh();
  }

  async refresh(quietly = false) {
    if (!quietly && !this.content.hasChildNodes()) fill(this.content, h("p", { class: "small" }, READING));
    try {
      const answer = await this.read();
      const held = this.content.contains(document.activeElement);
      if (quietly && held) return; // nothing is drawn anew under somebody's hands
      fill(this.content, this.drawn(answer));
      if (held) this.again.focus();
    } catch (problem) {
      if (!quietly) fill(this.content, h("p", { class: "failed" }, problem.message), problem.remedy ? h("p", { class: "small" }, problem.remedy) : null);
    }
  }

  leave() {
    clearInterval(this.timer);
  }
}

/** Several panes as one view. */
export class Panes {
  constructor(place, title, panes, intro = null) {
    this.panes = panes.filter(Boolean);
    fill(place, h("h1", { class: "view-title" }, title), intro, this.panes.map((pane) => pane.element));
  }

  leave() {
    for (const pane of this.panes) pane.leave?.();
  }
}
