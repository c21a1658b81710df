// Slash commands: what there is, what is meant, and a form for their options.
import { api } from "./api.js";
import { h } from "./dom.js";

// Discord's kinds of options.
const SUBCOMMAND = 1;
const GROUP = 2;
const INTEGER = 4;
const BOOLEAN = 5;
const USER = 6;
const CHANNEL = 7;
const NUMBER = 10;
const FILE = 11;
const NO_ANSWER_MS = 3500; // Discord takes an answer for three seconds
const COMPLETION_LOOKS = 10;
const COMPLETION_EVERY_MS = 80;

/** Commands as they are typed: each way down to a subcommand is one of its own. */
function* flat(command, path = [command.name], options = command.options ?? []) {
  const below = options.filter((option) => option.type === SUBCOMMAND || option.type === GROUP);
  if (!below.length) {
    yield { name: command.name, path, description: command.description, options };
    return;
  }
  for (const option of below) {
    for (const each of flat(command, [...path, option.name], option.options ?? [])) {
      yield { ...each, description: each.path.length === path.length + 1 ? option.description : each.description };
    }
  }
}

const all = (commands) => commands.filter((command) => (command.type ?? 1) === 1).flatMap((command) => [...flat(command)]);

/** Commands that the typed text may become. */
export function matching(commands, text) {
  const typed = text.slice(1).toLowerCase();
  return all(commands).filter((command) => {
    const name = command.path.join(" ");
    return name.startsWith(typed) || (!typed.includes(" ") && name.includes(typed) && typed.length > 2);
  });
}

/** The command that a typed line uses, and what stands behind its name. */
export function parseUse(commands, text) {
  const typed = text.slice(1);
  const found = all(commands)
    .filter((command) => `${typed} `.toLowerCase().startsWith(`${command.path.join(" ")} `))
    .sort((one, other) => other.path.length - one.path.length)[0];
  return found ? { command: found, given: typed.slice(found.path.join(" ").length).trim() } : null;
}

export class CommandForm {
  /** `given` fills the first option; `done` is called when the form is no longer needed. */
  constructor(world, command, given, { complain, done }) {
    this.world = world;
    this.command = command;
    this.complain = complain;
    this.done = done;
    // A file goes with a message; this form cannot carry one.
    this.fields = command.options.filter((option) => option.type !== FILE).map((option, index) => this.#field(option, index ? "" : given));
    const name = `/${command.path.join(" ")}`;
    this.element = h("div", { class: "command", role: "group", "aria-label": `Options of ${name}` },
      h("p", { class: "command-name" }, h("strong", {}, name), " ", command.description),
      h("div", { class: "command-fields" }, this.fields.map(({ option, input, list }) =>
        h("label", {}, h("span", {}, option.name, option.required ? "" : " (if you like)", h("small", {}, option.description)), input, list))),
      h("div", { class: "buttons" },
        h("button", { type: "button", class: "primary", on: { click: () => this.run() } }, "Send"),
        h("button", { type: "button", class: "quiet", on: { click: done } }, "Cancel")));
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  focus() {
    this.fields[0].input.focus();
  }

  #key(event) {
    if (event.key === "Escape") this.done();
    if (event.key !== "Enter" || event.target.tagName === "BUTTON") return;
    event.preventDefault();
    this.run();
  }

  #field(option, given) {
    const choose = (pairs) => h("select", { name: option.name }, option.required ? null : h("option", { value: "" }, "—"),
      pairs.map(([value, label]) => h("option", { value }, label)));
    if (option.choices?.length) return { option, input: choose(option.choices.map((each) => [each.value, each.name])) };
    if (option.type === BOOLEAN) return { option, input: choose([["true", "yes"], ["false", "no"]]) };
    if (option.type === USER) return { option, input: choose([...this.world.users.values()].map((user) => [user.id, user.name])) };
    if (option.type === CHANNEL) return { option, input: choose((this.world.guild?.channels ?? []).map((channel) => [channel.id, channel.name])) };
    const number = option.type === INTEGER || option.type === NUMBER;
    const input = h("input", { name: option.name, value: given, type: number ? "number" : "text", maxlength: option.max_length ?? "4000", autocomplete: "off" });
    if (!option.autocomplete) return { option, input };
    const list = h("datalist", { id: `choices-${option.name}` });
    input.setAttribute("list", list.id);
    input.addEventListener("input", () => this.#complete(option, input, list));
    return { option, input, list };
  }

  /** Ask the bot for completions, as Discord does with every key. */
  async #complete(option, input, list) {
    list.replaceChildren();
    try {
      const { id } = await api.interact({ ...this.#use(), options: this.#nested({ [option.name]: input.value }), focused: option.name });
      for (let look = 0; look < COMPLETION_LOOKS; look += 1) {
        await new Promise((resume) => setTimeout(resume, COMPLETION_EVERY_MS));
        const answer = await api.interaction(id);
        if (!answer.acknowledged) continue;
        list.replaceChildren(...(answer.data?.choices ?? []).map((each) => h("option", { value: each.value }, each.name)));
        return;
      }
    } catch {
      // Without completions one can still type.
    }
  }

  #use() {
    return { ...this.world.place, user: this.world.me, command: this.command.name };
  }

  /** Options below their subcommands. */
  #nested(options) {
    return this.command.path.slice(1).reduceRight((inner, name) => ({ [name]: inner }), options);
  }

  #values() {
    const values = {};
    for (const { option, input } of this.fields) {
      const value = input.value.trim();
      if (!value && option.required) {
        input.focus();
        throw new Error(`/${this.command.path.join(" ")} needs ${option.name}.`);
      }
      if (!value) continue;
      if (option.type === BOOLEAN) values[option.name] = value === "true";
      else if (option.type === INTEGER) values[option.name] = Number.parseInt(value, 10);
      else if (option.type === NUMBER) values[option.name] = Number(value);
      else values[option.name] = value;
    }
    return values;
  }

  async run() {
    let used;
    try {
      used = await api.interact({ ...this.#use(), options: this.#nested(this.#values()) });
    } catch (error) {
      this.complain(error);
      return;
    }
    this.done();
    setTimeout(async () => {
      const now = await api.interaction(used.id).catch(() => null);
      if (now && !now.acknowledged) this.complain(new Error(`The bot did not respond to /${this.command.path.join(" ")}.`));
    }, NO_ANSWER_MS);
  }
}
