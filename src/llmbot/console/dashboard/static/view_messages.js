// Messages of this life of the bot, the newest first; and one by its id.
import { fill, h } from "./dom.js";
import { Flow, showLedger } from "./flow.js";

export class MessagesView {
  constructor(place) {
    this.flow = new Flow({ most: 100 });
    const id = h("input", { id: "message-id", inputmode: "numeric", pattern: "[0-9]{5,20}", required: true, placeholder: "1180247…" });
    const form = h("form", { class: "inline-form" }, h("label", { for: "message-id" }, "Ledger of a message by its id"), id, h("button", { class: "quiet" }, "Show"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      showLedger(id.value.trim());
    });
    fill(place, h("div", { class: "view-head" }, h("h1", { class: "view-title" }, "Messages"), form),
      h("p", { class: "lead" }, "Where each one is and how long each step took. What people wrote is not shown."),
      h("section", { class: "panel", "aria-label": "Messages" }, this.flow.element));
  }

  tick() {
    this.flow.tick();
  }

  leave() {
    this.flow.leave();
  }
}
