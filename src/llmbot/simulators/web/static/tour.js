// The guided tour: breaks one thing at a time and watches, from outside, how the bot heals.
import { api } from "./api.js";
import { announce, fill, h, icon, span } from "./dom.js";
import { STEPS } from "./tour_steps.js";

const PATIENCE_MS = 75_000;
const LOOK_MS = 400;
const QUIET_MS = 2600; // words that stood still for so long are taken to be all
const AFTER_FIRST_WORDS_MS = 900;

/** What happens in one channel after one question, as anybody could see it. */
class Sight {
  replies = [];
  settled = false;
  acted = false;
  continued = false;
  modelCalls = 0;
  #heard = new Set();
  #struck = new Set();
  #changedAt = performance.now();
  #finalAt = 0;

  constructor(world, channel) {
    this.world = world;
    this.channel = channel;
    this.question = null;
  }

  hear(event) {
    this.#heard.add(event.type);
    const message = event.message;
    if (!message || message.channel_id !== this.channel || message.author.id !== this.world.bot.id) return;
    if (!this.question || BigInt(message.id) < BigInt(this.question)) return;
    this.#changedAt = performance.now();
    const index = this.replies.findIndex((each) => each.id === message.id);
    if (event.type === "message_delete") this.replies = this.replies.filter((each) => each.id !== message.id);
    else if (index < 0) this.replies.push(message);
    else {
      this.replies[index] = message;
      if (this.acted) this.continued = true;
    }
  }

  act() {
    this.acted = true;
    this.#heard.clear(); // what was heard of the old process says nothing about the new one
  }

  heard = (type) => this.#heard.has(type);
  struck = (fault) => this.#struck.has(fault);

  /** Take note of what the simulators say; a fault that was spent is no longer on their list. */
  look(step, faults, before, now, bot) {
    for (const name of step.faults) {
      const spent = !faults[name] && name !== "gateway.refuse"; // that one ends by its time alone
      if (spent || faults[name]?.struck) this.#struck.add(name);
    }
    this.modelCalls = now.requests - before.requests;
    const quiet = performance.now() - this.#changedAt > QUIET_MS;
    const words = this.replies.length > 0 && this.replies.every((each) => each.content);
    this.settled = words && quiet && now.inFlight === 0 && (!step.atFirstWords || (this.continued && bot !== null));
  }
}

export class Tour {
  constructor(world, element, { complain, show, say }) {
    Object.assign(this, { world, element, complain, show, say });
    this.done = new Set(JSON.parse(sessionStorage.getItem("sim:tour") ?? "[]"));
    this.results = new Map();
    this.running = null;
    this.latest = null;
    this.botKnown = false;
    this.sight = null;
    world.on("event", (event) => this.sight?.hear(event));
    this.draw();
  }

  /** Whether the bot can be killed from here. */
  knows(bot) {
    if (bot === this.botKnown) return;
    this.botKnown = bot;
    if (!this.running) this.draw();
  }

  draw() {
    const next = STEPS.find((step) => !this.done.has(step.id));
    fill(this.element,
      h("p", { class: "lead" }, next
        ? `Five faults, one click each. Watch the channel on the left while the bot deals with them. ${this.done.size} of ${STEPS.length} seen.`
        : "All five seen. Now break things your own way: “All faults” has the rest."),
      h("ol", { class: "steps" }, STEPS.map((step, index) => this.#card(step, index + 1, step === next))));
  }

  #card(step, number, isNext) {
    const running = this.running === step.id;
    const possible = !step.needsBot || this.botKnown;
    const done = this.done.has(step.id);
    const state = running ? "running" : done ? (this.latest === step.id ? "done latest" : "done") : isNext ? "next" : "";
    return h("li", { class: `step ${state}`, id: `step-${step.id}` },
      h("h3", {}, h("span", { class: "number", "aria-hidden": "true" }, done ? icon("check") : String(number)), step.title,
        done ? h("span", { class: "sr-only" }, " (seen)") : null),
      h("p", {}, step.breaks),
      h("p", { class: "expect" }, step.expect),
      possible ? null : h("p", { class: "small" }, "This page was not told where the bot's process is; `llmbot demo` tells it."),
      h("button", { class: isNext ? "primary" : "quiet", disabled: this.running !== null || !possible, on: { click: () => this.run(step) } },
        running ? "Watching…" : done ? "Again" : "Break it"),
      h("div", { class: "outcome", id: `outcome-${step.id}`, "aria-live": "polite" }, this.results.get(step.id)));
  }

  async run(step) {
    this.running = this.latest = step.id;
    this.results.delete(step.id);
    this.draw();
    try {
      await this.#watch(step);
      this.done.add(step.id);
      sessionStorage.setItem("sim:tour", JSON.stringify([...this.done]));
    } catch (error) {
      this.complain(error);
    } finally {
      this.running = null;
      this.sight = null;
      for (const name of step.faults) await api.faultOff(name).catch(() => {});
      this.draw();
      this.element.querySelector(".next, .latest")?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    }
  }

  async #watch(step) {
    const channel = this.world.guilds[0].channels[0].id;
    if (this.world.here !== channel) await this.world.open(channel);
    this.show();
    const before = await api.modelStats();
    const sight = (this.sight = new Sight(this.world, channel));
    await step.arrange();
    const said = await this.say(step.question, channel);
    sight.question = said.id;
    const began = performance.now();
    const since = new Map();
    let acting = false;
    while (performance.now() - began < PATIENCE_MS) {
      await new Promise((resume) => setTimeout(resume, LOOK_MS));
      if (step.atFirstWords && sight.replies.length && !acting) {
        acting = true;
        await new Promise((resume) => setTimeout(resume, AFTER_FIRST_WORDS_MS));
        await step.atFirstWords();
        sight.act();
      }
      const [{ faults, bot }, now] = await Promise.all([api.panel(), api.modelStats()]);
      sight.look(step, faults, before, now, bot);
      const seconds = (performance.now() - began) / 1000;
      for (const check of step.checks) {
        if (!since.has(check) && (!check.atEnd || sight.settled) && check.holds(sight)) since.set(check, seconds);
      }
      this.#tell(step, since, seconds, false);
      if (sight.settled && step.checks.every((check) => since.has(check))) break;
      if (sight.settled && seconds > 30) break;
    }
    const seconds = (performance.now() - began - QUIET_MS) / 1000;
    this.#tell(step, since, seconds, true);
    announce(`${step.title}: ${since.size} of ${step.checks.length} as expected.`);
  }

  #tell(step, since, seconds, ended) {
    const all = since.size === step.checks.length;
    const outcome = [
      h("ul", { class: "checks" }, step.checks.map((check) => {
        const holds = since.has(check);
        const state = holds ? "holds" : ended ? "fails" : "waits";
        const mark = { holds: icon("check"), fails: icon("close"), waits: h("span", { class: "dot" }) }[state];
        return h("li", { class: state }, mark, h("span", { class: "sr-only" }, { holds: "Yes: ", fails: "No: ", waits: "Not yet: " }[state]), check.label);
      })),
      h("p", { class: "small" }, ended ? (all ? `Healed after ${span(seconds)}.` : "Not all of it happened in time.") : `${span(seconds)} …`),
    ];
    this.results.set(step.id, outcome);
    const place = document.getElementById(`outcome-${step.id}`);
    if (place) fill(place, outcome);
  }
}
