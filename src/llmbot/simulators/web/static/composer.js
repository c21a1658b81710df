// Writing: words, mentions, replies, files; what begins with a slash is a command.
import { api } from "./api.js";
import { CommandForm, matching, parseUse } from "./commands.js";
import { announce, byId, bytes, fill, h, icon } from "./dom.js";

const FILES_BYTES_MAX = 8_000_000;
const TYPING_EVERY_MS = 8000;

export class Composer {
  constructor(world, { complain }) {
    this.world = world;
    this.complain = complain;
    this.replyTo = null;
    this.files = [];
    this.typedAt = 0;
    this.choice = { items: [], at: 0 };
    this.form = byId("composer");
    this.#build();
    world.on("places", () => this.#label());
    world.on("opened", () => this.reply(null));
    world.on("removed", (id) => this.replyTo?.id === id && this.reply(null));
  }

  #build() {
    this.field = h("textarea", { id: "draft", rows: "1", maxlength: "4000", "aria-label": "Message", "aria-autocomplete": "list", "aria-controls": "suggestions" });
    this.suggestions = h("ul", { id: "suggestions", class: "suggestions", role: "listbox", "aria-label": "Suggestions", hidden: true });
    this.answering = h("div", { class: "answering", hidden: true });
    this.chips = h("ul", { class: "chips", "aria-label": "Files to send", hidden: true });
    this.ask = h("button", { type: "button", class: "ask-bot", "aria-pressed": "true", title: "Whether the bot is asked: its name is put before your words" }, `@${this.world.bot.name}`);
    this.picker = h("input", { type: "file", multiple: true, hidden: true, "aria-hidden": "true", tabindex: "-1" });
    const attach = h("button", { type: "button", class: "icon-button", "aria-label": "Attach files", title: "Attach files", on: { click: () => this.picker.click() } }, icon("attach"));
    const send = h("button", { class: "icon-button send", "aria-label": "Send", title: "Send (Enter)" }, icon("send"));
    this.row = h("div", { class: "composer-row" }, attach, this.ask, this.field, this.picker, send);
    fill(this.form, this.suggestions, this.answering, this.chips, this.row);
    this.ask.addEventListener("click", () => this.#askBot(this.ask.getAttribute("aria-pressed") !== "true"));
    this.picker.addEventListener("change", () => this.#add([...this.picker.files]));
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.field.addEventListener("blur", () => setTimeout(() => this.#suggest([]), 150));
    this.field.addEventListener("paste", (event) => this.#add([...(event.clipboardData?.files ?? [])]));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    const chat = this.form.closest("main");
    chat.addEventListener("dragover", (event) => event.preventDefault());
    chat.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#add([...event.dataTransfer.files]);
    });
  }

  #label() {
    const { world } = this;
    const where = world.isDirect ? `@${world.bot.name}` : `#${world.channel?.name ?? ""}`;
    this.field.setAttribute("aria-label", `Message ${where}`);
    this.field.placeholder = `Message ${where} as ${world.me}`;
    this.ask.hidden = world.isDirect;
    this.ask.textContent = `@${world.bot.name}`;
  }

  #askBot(on) {
    this.ask.setAttribute("aria-pressed", String(on));
    announce(on ? "The bot is asked" : "The bot is not asked");
  }

  /** Answer a message, or (null) no more. */
  reply(message) {
    this.replyTo = message;
    this.answering.hidden = message === null;
    if (message === null) return;
    fill(this.answering, icon("reply"), h("span", {}, "Replying to ", h("strong", {}, message.author.name)),
      h("button", { type: "button", class: "icon-button", "aria-label": "Do not reply", on: { click: () => this.reply(null) } }, icon("close")));
    this.field.focus();
  }

  // -- files -------------------------------------------------------------------------------------

  #add(files) {
    if (!files.length) return;
    const all = [...this.files, ...files].slice(0, 10);
    if (all.reduce((sum, file) => sum + file.size, 0) > FILES_BYTES_MAX) {
      this.complain(new Error(`Files of one message may have ${bytes(FILES_BYTES_MAX)} together.`));
      return;
    }
    this.files = all;
    this.picker.value = "";
    this.#drawFiles();
  }

  #drawFiles() {
    this.chips.hidden = !this.files.length;
    fill(this.chips, this.files.map((file) => h("li", { class: "chip" }, file.name, h("span", { class: "small" }, bytes(file.size)),
      h("button", { type: "button", class: "icon-button", "aria-label": `Remove ${file.name}`, on: { click: () => {
        this.files = this.files.filter((each) => each !== file);
        this.#drawFiles();
      } } }, icon("close")))));
  }

  // -- sending -----------------------------------------------------------------------------------

  async #send() {
    const content = this.field.value.trim();
    if (content.startsWith("/")) {
      const use = parseUse(this.world.commands, content);
      if (use) {
        this.#command(use.command, use.given);
        return;
      }
    }
    if (!content && !this.files.length) return;
    const { world, replyTo, files } = this;
    const asks = !world.isDirect && this.ask.getAttribute("aria-pressed") === "true" && replyTo?.author.id !== world.bot.id;
    this.field.value = "";
    this.files = [];
    this.#drawFiles();
    this.reply(null);
    this.#grow();
    try {
      await api.say({
        ...world.place,
        user: world.me,
        content,
        mention_bot: asks && !content.toLowerCase().includes(`@${world.bot.name.toLowerCase()}`),
        reply_to: replyTo?.id ?? null,
        attachments: await Promise.all(files.map(packed)),
      });
    } catch (error) {
      this.field.value ||= content; // nothing that was written is lost
      this.files = files;
      this.#drawFiles();
      this.complain(error);
    }
  }

  /** Say something as if it had been typed here; for the guided tour. */
  async say(content, channel) {
    return api.say({ channel, user: this.world.me, content, mention_bot: true });
  }

  // -- commands ----------------------------------------------------------------------------------

  #command(command, given = "") {
    this.#suggest([]);
    this.field.value = "";
    const back = () => {
      form.element.remove();
      this.row.hidden = false;
      this.field.focus();
    };
    const form = new CommandForm(this.world, command, given, { complain: this.complain, done: back });
    if (!form.fields.length) {
      form.run();
      return;
    }
    this.row.hidden = true;
    this.form.append(form.element);
    form.focus();
    if (given) form.run();
  }

  // -- suggestions -------------------------------------------------------------------------------

  #typed() {
    this.#grow();
    const text = this.field.value;
    const before = text.slice(0, this.field.selectionStart);
    const at = /(?:^|\s)@([\w.-]{0,32})$/.exec(before);
    if (text.startsWith("/") && !text.includes("\n")) {
      this.#suggest(matching(this.world.commands, text).map((command) => ({
        label: `/${command.path.join(" ")}`, about: command.description, take: () => this.#command(command),
      })));
    } else if (at) {
      const known = [...this.world.users.values()].filter((user) => user.name.toLowerCase().startsWith(at[1].toLowerCase()));
      this.#suggest(known.slice(0, 8).map((user) => ({
        label: `@${user.name}`, about: user.id === this.world.bot.id ? "the bot" : "", take: () => {
          const start = before.length - at[1].length;
          this.field.setRangeText(`${user.name} `, start, before.length, "end");
          this.#suggest([]);
        },
      })));
    } else {
      this.#suggest([]);
      const now = performance.now();
      if (text && now - this.typedAt > TYPING_EVERY_MS) {
        this.typedAt = now;
        api.typing({ ...this.world.place, user: this.world.me }).catch(() => {});
      }
    }
  }

  #suggest(items) {
    this.choice = { items, at: 0 };
    this.suggestions.hidden = !items.length;
    fill(this.suggestions, items.map((item, index) => h("li", {
      id: `suggestion-${index}`, role: "option", "aria-selected": String(index === 0),
      on: { pointerdown: (event) => { event.preventDefault(); item.take(); } },
    }, h("strong", {}, item.label), h("span", {}, item.about))));
    this.#mark();
    if (items.length) announce(`${items.length} suggestions; the first is ${items[0].label}`);
  }

  #mark() {
    [...this.suggestions.children].forEach((item, index) => {
      const chosen = index === this.choice.at;
      item.setAttribute("aria-selected", String(chosen));
      if (chosen) item.scrollIntoView({ block: "nearest" });
    });
    if (this.choice.items.length) this.field.setAttribute("aria-activedescendant", `suggestion-${this.choice.at}`);
    else this.field.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const { items, at } = this.choice;
    if (items.length && ["ArrowDown", "ArrowUp", "Tab", "Enter", "Escape"].includes(event.key) && !(event.key === "Enter" && event.shiftKey)) {
      event.preventDefault();
      if (event.key === "Escape") this.#suggest([]);
      else if (event.key === "Tab" || event.key === "Enter") items[at].take();
      else {
        this.choice.at = (at + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length;
        this.#mark();
      }
      return;
    }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "Escape") this.reply(null);
    else if (event.key === "ArrowUp" && !this.field.value) byId("log").focus();
  }

  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, 180)}px`;
  }
}

function packed(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve({
      filename: file.name, content_type: file.type || "application/octet-stream", data_base64: String(reader.result).split(",")[1] ?? "",
    }));
    reader.addEventListener("error", () => reject(new Error(`${file.name} cannot be read.`)));
    reader.readAsDataURL(file);
  });
}
