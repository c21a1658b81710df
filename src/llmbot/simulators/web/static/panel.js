// Beside the chat: the bot's process and its line to Discord, the guided tour, the faults.
import { api } from "./api.js";
import { byId, bytes, fill, h, icon, span } from "./dom.js";
import { Faults } from "./faults.js";
import { Tour } from "./tour.js";

const LOOK_EVERY_MS = 1000;

export class Panel {
  constructor(world, { complain, show, say }) {
    this.world = world;
    this.complain = complain;
    this.gateway = null;
    this.seen = null;
    this.goneAt = null;
    this.tour = new Tour(world, byId("tour"), { complain, show, say });
    this.faults = new Faults(byId("faults"), { complain, changed: () => this.look() });
    world.on("gateway", () => this.#readGateway());
    this.#build();
    this.#tabs();
  }

  async begin() {
    await this.faults.begin();
    await this.look();
    setInterval(() => document.hidden || this.look(), LOOK_EVERY_MS);
  }

  #build() {
    this.light = h("span", { class: "light" });
    this.words = h("p", { class: "bot-state", role: "status" });
    this.facts = h("p", { class: "small" });
    this.line = h("p", { class: "small" });
    this.operator = h("a", { class: "button quiet", target: "_blank", rel: "noopener", hidden: true }, "Operator page ", icon("out"));
    this.kill = h("button", { class: "harm", on: { click: () => this.#act(() => api.killBot()) } }, "kill -9 the bot");
    this.cut = h("button", { class: "quiet", on: { click: () => this.#act(() => api.gatewayAct("drop")) } }, "Cut the gateway");
    this.forget = h("button", { class: "quiet", title: "The session cannot be resumed: the bot must begin a new one and look for what it missed", on: { click: () => this.#act(() => api.gatewayAct("invalidate")) } }, "Forget its session");
    fill(byId("bot"), h("div", { class: "bot-head" }, this.light, h("div", {}, this.words, this.facts, this.line)),
      h("div", { class: "buttons" }, this.kill, this.cut, this.forget, this.operator));
  }

  async #act(act) {
    try {
      await act();
      await this.look();
    } catch (error) {
      this.complain(error);
    }
  }

  async #readGateway() {
    this.gateway = await api.gateway().catch(() => null);
    this.#draw();
  }

  /** Ask how things are. */
  async look() {
    try {
      this.seen = await api.panel();
    } catch {
      return; // the connection's own words tell it
    }
    this.faults.show(this.seen.faults);
    this.tour.knows(this.seen.botKnown);
    this.#draw();
  }

  #draw() {
    if (!this.seen) return;
    const { bot, botKnown } = this.seen;
    const session = this.gateway?.sessions?.at(-1);
    const connected = Boolean(session?.connected);
    if (bot || !botKnown) this.goneAt = null;
    else this.goneAt ??= performance.now();
    const state = botKnown && !bot ? "down" : connected ? "up" : "apart";
    this.light.className = `light ${state}`;
    const words = {
      down: `${this.world.bot.name} does not run. It is being started again…`,
      up: `${this.world.bot.name} runs and is connected`,
      apart: `${this.world.bot.name} is not connected to Discord`,
    }[state];
    if (this.words.textContent !== words) this.words.textContent = words;
    this.facts.textContent = bot
      ? `Process ${bot.pid} · up ${span(bot.uptimeSeconds)} · ${bytes(bot.residentBytes)}`
      : this.goneAt === null ? "" : `Gone for ${span((performance.now() - this.goneAt) / 1000)}`;
    const status = session?.presence?.activities?.find((each) => each.state)?.state;
    this.line.textContent = session
      ? [`Session resumed ${session.resumes}×`, `${session.sequence} events`, status ? `says “${status}”` : ""].filter(Boolean).join(" · ")
      : "No gateway session";
    this.kill.hidden = !botKnown;
    this.kill.disabled = !bot;
    this.operator.hidden = !bot?.httpAddress;
    if (bot?.httpAddress) this.operator.href = bot.httpAddress;
  }

  #tabs() {
    const tabs = [byId("tab-tour"), byId("tab-faults")];
    const choose = (tab) => {
      for (const each of tabs) {
        const chosen = each === tab;
        each.setAttribute("aria-selected", String(chosen));
        each.tabIndex = chosen ? 0 : -1;
        byId(each.getAttribute("aria-controls")).hidden = !chosen;
      }
      sessionStorage.setItem("sim:tab", tab.id);
    };
    for (const [index, tab] of tabs.entries()) {
      tab.addEventListener("click", () => choose(tab));
      tab.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
        const other = tabs[1 - index];
        choose(other);
        other.focus();
      });
    }
    choose(byId(sessionStorage.getItem("sim:tab") ?? "") ?? tabs[0]);
  }
}
