// One message: author, words, files, buttons, reactions, and what one may do with it.
import { api } from "./api.js";
import { bytes, exactTimeOf, h, icon, timeOf } from "./dom.js";
import { render } from "./markdown.js";
import { avatar } from "./sidebar.js";

const EMOJI = ["👍", "❤️", "🎉", "🤔"];
const LOADING = 128;
const STYLES = { 1: "primary", 2: "quiet", 3: "good", 4: "harm", 5: "quiet" };

export class MessageView {
  constructor(world, { complain, reply, history }) {
    this.world = world;
    this.complain = complain;
    this.reply = reply;
    this.history = history;
  }

  draw(message) {
    const { world } = this;
    const streams = world.streaming.has(message.id);
    const used = world.uses.get(message.interaction_id);
    return h("article", { class: `message ${message.ephemeral ? "private" : ""}`, "aria-label": `${message.author.name} at ${timeOf(message.created_at)}` },
      avatar(message.author.name, message.author.id, message.author.id === world.bot.id),
      h("div", { class: "body" },
        message.reply_to ? this.#quoted(message) : null,
        used ? h("p", { class: "quoted" }, h("strong", {}, used.user), ` used /${used.name}`) : null,
        h("header", {},
          h("strong", { class: "author" }, message.author.name),
          message.author.bot ? h("span", { class: "app" }, "APP") : null,
          h("time", { datetime: message.created_at, title: exactTimeOf(message.created_at) }, timeOf(message.created_at))),
        h("div", { class: `words ${streams ? "streams" : ""}` },
          message.flags & LOADING && !message.content ? h("p", { class: "thinking" }, `${message.author.name} is thinking…`) : render(message.content, world.names),
          streams ? h("span", { class: "caret", "aria-hidden": "true" }) : null),
        message.edits ? h("button", { class: "edited", "aria-label": `Edited ${message.edits} times, show how`, on: { click: () => this.history(message.id) } },
          `edited ${message.edits}×`) : null,
        message.embeds.map((embed) => this.#embed(embed)),
        message.attachments.map((file) => this.#file(file)),
        message.components.map((row) => this.#component(message, row)),
        this.#reactions(message),
        message.ephemeral ? h("p", { class: "small" }, "Only you can see this.") : null),
      this.#tools(message));
  }

  #quoted(message) {
    const original = this.world.messages.get(message.reply_to);
    const words = original ? original.content.replace(/<@!?(\d+)>/g, (_, id) => `@${this.world.names.user(id) ?? "?"}`).replace(/\[\[[^\]]*\]\] ?/g, "") : "an earlier message";
    return h("p", { class: "quoted" }, icon("reply"), original ? h("strong", {}, original.author.name) : null, ` ${words.slice(0, 120)}`);
  }

  #embed(embed) {
    return h("div", { class: "embed" },
      embed.title ? h("strong", {}, embed.title) : null,
      embed.description ? h("div", {}, ...render(embed.description, this.world.names)) : null,
      (embed.fields ?? []).map((field) => h("p", {}, h("strong", {}, field.name), ` ${field.value}`)));
  }

  #file(file) {
    const href = `/_sim/discord/files/${file.id}`;
    if (/^image\/(?:png|jpeg|gif|webp)$/.test(file.content_type)) {
      return h("a", { class: "picture", href, target: "_blank", rel: "noopener" }, h("img", { src: href, alt: file.filename, loading: "lazy" }));
    }
    return h("a", { class: "file", href, target: "_blank", rel: "noopener" }, icon("attach"),
      h("span", {}, file.filename), h("span", { class: "small" }, bytes(file.size)));
  }

  // Discord's components: rows (1), buttons (2) and menus (3).
  #component(message, part) {
    if (part.type === 1) return h("div", { class: "buttons" }, (part.components ?? []).map((each) => this.#component(message, each)));
    if (part.type === 2 && part.url) return h("a", { class: "button quiet", href: part.url, target: "_blank", rel: "noopener noreferrer" }, part.label ?? "Open");
    const press = (values) => this.#try(() => api.interact({ user: this.world.me, message_id: message.id, custom_id: part.custom_id, ...(values && { values }) }));
    if (part.type === 2) {
      return h("button", { class: STYLES[part.style] ?? "quiet", disabled: part.disabled, on: { click: () => press() } },
        part.emoji?.name ? `${part.emoji.name} ` : null, part.label ?? "");
    }
    if (part.type === 3) {
      return h("select", { "aria-label": part.placeholder ?? "Choose", disabled: part.disabled, on: { change: (event) => press([event.target.value]) } },
        h("option", { value: "", disabled: true, selected: true }, part.placeholder ?? "Choose…"),
        (part.options ?? []).map((option) => h("option", { value: option.value }, option.label)));
    }
    return null;
  }

  #reactions(message) {
    const all = Object.entries(message.reactions);
    if (!all.length) return null;
    return h("div", { class: "reactions" }, all.map(([emoji, names]) => {
      const mine = names.includes(this.world.me);
      return h("button", { class: "reaction", "aria-pressed": String(mine), title: names.join(", "), "aria-label": `${emoji} by ${names.join(", ")}`,
        on: { click: () => this.#react(message, emoji, mine) } }, emoji, " ", String(names.length));
    }));
  }

  #react(message, emoji, remove) {
    return this.#try(() => api.react({ user: this.world.me, message_id: message.id, emoji, remove }));
  }

  #tools(message) {
    if (message.ephemeral) return null;
    const mine = message.author.name === this.world.me;
    const tool = (name, label, act) => h("button", { class: "icon-button", "aria-label": label, title: label, on: { click: act } }, icon(name));
    return h("div", { class: "tools", role: "group", "aria-label": `Message of ${message.author.name}` },
      EMOJI.slice(0, 3).map((emoji) => h("button", { class: "icon-button", "aria-label": `React with ${emoji}`, on: { click: () => this.#react(message, emoji, (message.reactions[emoji] ?? []).includes(this.world.me)) } }, emoji)),
      tool("reply", "Reply", () => this.reply(message)),
      mine ? tool("edit", "Edit", (event) => this.#edit(event.currentTarget.closest(".message"), message)) : null,
      tool("remove", "Delete", () => this.#try(() => api.remove(message.id))));
  }

  #edit(element, message) {
    const words = element.querySelector(".words");
    const field = h("textarea", { "aria-label": "Change the message", rows: "3" });
    field.value = message.content.replace(/<@!?(\d+)>/g, (whole, id) => (this.world.names.user(id) ? `@${this.world.names.user(id)}` : whole));
    const done = () => words.replaceChildren(...render(message.content, this.world.names));
    const form = h("form", { class: "change" }, field, h("div", { class: "buttons" },
      h("button", { class: "primary" }, "Save"), h("button", { type: "button", class: "quiet", on: { click: done } }, "Cancel")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      field.blur();
      done();
      this.#try(() => api.edit(message.id, field.value));
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") done();
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    words.replaceChildren(form);
    field.focus();
  }

  async #try(act) {
    try {
      await act();
    } catch (error) {
      this.complain(error);
    }
  }
}
