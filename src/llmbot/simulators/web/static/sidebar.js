// Servers, channels, direct messages, and who is played.
import { api } from "./api.js";
import { byId, fill, h, icon, popover, tint } from "./dom.js";

export function avatar(name, id, bot = false) {
  return h("span", { class: `avatar ${bot ? "avatar-bot" : tint(id)}`, "aria-hidden": "true" }, bot ? icon("bolt") : name.slice(0, 1).toUpperCase());
}

export class Sidebar {
  constructor(world, { complain, moved }) {
    this.world = world;
    this.complain = complain;
    this.moved = moved;
    world.on("places", () => this.draw());
    byId("new-thread").addEventListener("click", () => this.newThread());
  }

  draw() {
    const { world } = this;
    this.#drawRail();
    const direct = world.isDirect;
    byId("place-title").textContent = direct ? "Direct messages" : (world.guild?.name ?? "");
    fill(byId("places-list"), direct ? this.#directList() : this.#channelList(world.guild));
    this.#drawMe();
    this.#drawHead();
  }

  #drawRail() {
    const { world } = this;
    const unreadIn = (channels) => channels.reduce((sum, channel) => sum + (world.unread.get(channel.id) ?? 0), 0);
    const entry = (label, shown, current, unread, act) =>
      h("li", {}, h("button", {
        class: "server", "aria-label": unread ? `${label}, ${unread} unread` : label, title: label,
        "aria-current": current ? "page" : null, on: { click: act },
      }, shown, unread ? h("span", { class: "badge", "aria-hidden": "true" }, String(Math.min(unread, 99))) : null));
    const mine = world.direct.get(world.me);
    fill(byId("rail"), h("ul", {},
      entry("Direct messages", icon("thread"), world.isDirect, mine ? unreadIn([mine]) : 0, () => this.go(() => world.openDirect())),
      world.guilds.map((guild) =>
        entry(guild.name, h("span", { class: "initials", "aria-hidden": "true", data: { initials: initials(guild.name) } }), world.guild === guild, unreadIn(guild.channels),
          () => this.go(() => world.open(guild.channels[0]?.id))))));
  }

  #directList() {
    const { world } = this;
    return h("ul", { class: "channels" },
      h("li", {}, h("button", { class: "channel", "aria-current": "page" },
        avatar(world.bot.name, world.bot.id, true), h("span", {}, world.bot.name))));
  }

  #channelList(guild) {
    const { world } = this;
    const row = (channel, thread) => {
      const unread = world.unread.get(channel.id) ?? 0;
      return h("button", {
        class: `channel ${thread ? "thread" : ""} ${unread ? "unread" : ""}`,
        "aria-current": channel.id === world.here ? "page" : null,
        "aria-label": `${thread ? "Thread" : "Channel"} ${channel.name}${unread ? `, ${unread} unread` : ""}`,
        on: { click: () => this.go(() => world.open(channel.id)) },
      }, h("span", { class: "hash", "aria-hidden": "true" }, thread ? "↳" : "#"), h("span", { class: "channel-name" }, channel.name),
      unread ? h("span", { class: "badge", "aria-hidden": "true" }, String(Math.min(unread, 99))) : null);
    };
    const top = guild.channels.filter((channel) => channel.type === "text");
    return [
      h("ul", { class: "channels" }, top.map((channel) => h("li", {}, row(channel, false),
        threadsOf(guild, channel).map((thread) => row(thread, true))))),
      h("button", { class: "add", on: { click: (event) => this.#ask(event.currentTarget, "New channel", "Name", async (name) => {
        const made = await api.addChannel({ guild: guild.id, name: name.toLowerCase().replaceAll(/\s+/g, "-") });
        await world.refresh();
        await world.open(made.id);
      }) } }, "+ Add a channel"),
    ];
  }

  #drawMe() {
    const { world } = this;
    const select = h("select", { id: "who", on: { change: (event) => this.#become(event.target) } },
      world.people().map((user) => h("option", { value: user.name, selected: user.name === world.me }, user.name)),
      h("option", { value: "+" }, "Somebody new…"));
    fill(byId("me"), avatar(world.me, [...world.users.values()].find((u) => u.name === world.me)?.id ?? world.me),
      h("div", { class: "me-who" }, h("label", { for: "who" }, "You are"), select));
  }

  #become(select) {
    if (select.value !== "+") {
      this.go(() => this.world.become(select.value));
      return;
    }
    select.value = this.world.me;
    this.#ask(byId("me"), "Somebody new", "Their name", async (name) => {
      await api.addUser(name, this.world.guilds[0]?.id);
      await this.world.refresh();
      await this.world.become(name);
    });
  }

  #drawHead() {
    const { world } = this;
    const { channel } = world;
    const thread = channel?.type === "thread";
    const title = world.isDirect ? `@${world.bot.name}` : `${thread ? "" : "#"}${channel?.name ?? ""}`;
    byId("channel-title").textContent = title;
    document.title = `${title} · Simulated Discord`;
    byId("channel-about").textContent = world.isDirect
      ? `Direct messages between ${world.me} and the bot`
      : thread ? `A thread in #${channel.parent}` : world.guild?.name ?? "";
    byId("new-thread").hidden = world.isDirect || thread;
  }

  newThread() {
    const { world } = this;
    this.#ask(byId("new-thread"), "New thread", "Name", async (name) => {
      const made = await api.addThread({ channel: world.here, thread: name, user: world.me });
      await world.refresh();
      await world.open(made.id);
    });
  }

  /** Ask for one word or two beside a control. */
  #ask(anchor, title, label, then) {
    const input = h("input", { id: "asked", maxlength: "32", required: true });
    const form = h("form", { class: "ask", role: "dialog", "aria-label": title },
      h("label", { for: "asked" }, label), input,
      h("button", { class: "primary" }, "Create"));
    const close = popover(form, { anchor });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const words = input.value.trim();
      if (!words) return;
      close();
      this.go(() => then(words));
    });
    anchor.after(form);
    input.focus();
  }

  async go(act) {
    try {
      await act();
      this.moved();
    } catch (error) {
      this.complain(error);
    }
  }
}

const initials = (name) => name.split(/\s+/).map((word) => word[0]).join("").slice(0, 2).toUpperCase();
const threadsOf = (guild, channel) => guild.channels.filter((each) => each.parent_id === channel.id);
