// The log of one channel: drawn once, then only what changes.
import { api } from "./api.js";
import { announce, byId, exactTimeOf, fill, h } from "./dom.js";
import { MessageView } from "./message.js";

const GROUP_MS = 7 * 60_000;
const NEAR_PX = 90;

export class Messages {
  constructor(world, { complain, reply }) {
    this.world = world;
    this.complain = complain;
    this.log = byId("log");
    this.view = new MessageView(world, { complain, reply, history: (id) => this.#history(id) });
    this.pinned = true; // to the newest
    world.on("opened", () => this.#draw());
    world.on("created", (message) => this.#add(message));
    world.on("updated", (message) => this.#replace(message));
    world.on("settled", (message) => this.#settle(message));
    world.on("removed", (id) => this.#remove(id));
    world.on("typing", () => this.#typing());
    this.log.addEventListener("scroll", () => this.#scrolled());
    byId("newer").addEventListener("click", () => this.#down());
    new ResizeObserver(() => this.pinned && this.#down()).observe(this.log);
  }

  #draw() {
    const messages = this.world.shown();
    fill(this.log, messages.length ? messages.map((message, index) => this.#row(message, messages[index - 1])) : this.#empty());
    this.#typing();
    this.#down();
  }

  #empty() {
    const bot = this.world.bot.name;
    return h("div", { class: "empty" },
      h("p", { class: "empty-title" }, "Nothing has been said here yet."),
      h("p", {}, this.world.isDirect ? `Write, and ${bot} answers.` : `Write something. While “@${bot}” below is lit, ${bot} is asked; else people talk among themselves.`));
  }

  #row(message, before) {
    const follows = before && before.author.id === message.author.id && !message.reply_to && !message.interaction_id &&
      new Date(message.created_at) - new Date(before.created_at) < GROUP_MS;
    return h("div", { class: `row ${follows ? "follows" : ""}`, id: `m${message.id}` }, this.view.draw(message));
  }

  #add(message) {
    this.log.querySelector(".empty")?.remove();
    const shown = this.world.shown();
    const row = this.#row(message, shown[shown.indexOf(message) - 1]);
    row.classList.add("arrives");
    this.log.append(row);
    this.#typing();
    if (this.pinned || message.author.name === this.world.me) this.#down();
    else byId("newer").hidden = false;
  }

  #replace(message) {
    const row = byId(`m${message.id}`);
    if (!row) return;
    const held = row.contains(document.activeElement);
    if (held && row.querySelector("textarea")) return; // somebody is changing it right now
    fill(row, this.view.draw(message));
    if (this.pinned) this.#down();
  }

  #settle(message) {
    const row = byId(`m${message.id}`);
    if (!row) return;
    row.querySelector(".caret")?.remove();
    row.querySelector(".words")?.classList.remove("streams");
    if (message.content) announce(`${message.author.name} has answered: ${message.content.slice(0, 300)}`);
  }

  #remove(id) {
    byId(`m${id}`)?.remove();
  }

  #typing() {
    const names = this.world.typists();
    const line = byId("typing");
    fill(line, names.length
      ? [h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
          `${names.slice(0, 3).join(", ")} ${names.length === 1 ? "is" : "are"} typing…`]
      : []);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    this.pinned = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.pinned) byId("newer").hidden = true;
  }

  #down() {
    this.log.scrollTop = this.log.scrollHeight;
    this.pinned = true;
    byId("newer").hidden = true;
  }

  /** How a message came to say what it says. */
  async #history(id) {
    let message;
    try {
      message = await api.message(id);
    } catch (error) {
      this.complain(error);
      return;
    }
    const dialog = h("dialog", { class: "history", "aria-labelledby": "history-title" },
      h("header", {}, h("h2", { id: "history-title" }, `How this message came to be: ${message.versions.length} versions`),
        h("button", { class: "quiet", on: { click: () => dialog.close() } }, "Close")),
      h("ol", {}, message.versions.map((version, index) => {
        const before = message.versions[index - 1]?.content ?? "";
        const same = version.content.startsWith(before);
        return h("li", {}, h("time", { datetime: version.at, title: exactTimeOf(version.at) }, new Date(version.at).toISOString().slice(11, 23)),
          h("p", {}, same ? [h("span", { class: "old" }, before.length > 60 ? `…${before.slice(-60)}` : before),
            h("ins", {}, version.content.slice(before.length))] : version.content));
      })));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }
}
