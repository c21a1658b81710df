// At a glance: every part of the bot as a tile, messages on their way, and what else happened.
import { act } from "./act.js";
import { Breakers } from "./breakers.js";
import { chip, fill, h } from "./dom.js";
import { Flow } from "./flow.js";
import { bytes, counted, joined, milliseconds, number, percent, span } from "./format.js";
import { Happenings } from "./happenings.js";
import { Spark } from "./spark.js";
import { meter, Tile } from "./tiles.js";
import { store } from "./store.js";

const ms = (value) => joined(milliseconds(value));
const size = (value) => joined(bytes(value));
const HEALTH = { healthy: "good", degraded: "warn", unhealthy: "bad" };
const part = (name) => store.sections.status?.parts?.[name];
const facts = (name) => part(name)?.facts ?? {};
const kindOf = (name) => HEALTH[part(name)?.status] ?? "wait";

export class Overview {
  constructor(place) {
    const tile = (id, title, series, words, floor, more) => new Tile(title, { id, spark: series && new Spark(title, { words, floor }), ...more });
    this.tiles = {
      answers: tile("answers", "Answers", true, (value) => `${number(value)} a minute`, 5),
      times: tile("times", "Time to answer", true, ms, 2000),
      queue: tile("queue", "Waiting", true, (value) => `${number(value)} waiting`, 5),
      gateway: tile("gateway", "Discord gateway", true, (value) => `${ms(value)} latency`, 100),
      models: tile("models", "Models", false, null, 0, { wide: true }),
      breakers: tile("breakers", "Circuit breakers", false, null, 0, { wide: true }),
      memory: tile("memory", "Memory", true, size, 1e8),
      loop: tile("loop", "Event loop", true, (value) => `${ms(value)} late`, 100),
      disk: tile("disk", "Disk and store", true, (value) => `${size(value)} free`, 1e9),
      services: tile("services", "Services", false),
    };
    this.breakers = new Breakers();
    this.tiles.breakers.more.append(this.breakers.element);
    this.flow = new Flow();
    this.happenings = new Happenings();
    fill(place,
      h("h2", { class: "sr-only" }, "Overview"),
      h("div", { class: "tiles" }, Object.values(this.tiles).map((each) => each.element)),
      h("div", { class: "columns" },
        h("section", { class: "panel", "aria-labelledby": "flow-title" }, h("h2", { id: "flow-title" }, "Messages on their way"), this.flow.element),
        h("section", { class: "panel", "aria-labelledby": "happenings-title" }, h("h2", { id: "happenings-title" }, "What happened"), this.happenings.element)));
    this.stops = [
      store.on("any", () => this.draw()),
      store.on("history", () => this.hours()),
      store.on("connection", () => place.classList.toggle("stale", !store.connected)),
    ];
    this.draw();
    this.hours();
  }

  leave() {
    this.flow.leave();
    this.happenings.leave();
    for (const stop of this.stops) stop();
  }

  /** Countdowns pass by themselves. */
  tick() {
    this.#breakers();
    this.flow.tick();
  }

  hours() {
    const { history } = store.sections;
    if (!history) return;
    const series = { answers: "perMinute", times: "p95", queue: "waiting", gateway: "gateway", memory: "memory", loop: "loop", disk: "disk" };
    for (const [tile, name] of Object.entries(series)) this.tiles[tile].hour(history, name);
  }

  /** What the bot does not tell has no tile. */
  #known() {
    const { status, performance, services } = store.sections;
    if (!status) return;
    const parts = status.parts;
    const known = {
      answers: performance || parts.answers, times: performance, queue: parts.waiting, gateway: services?.services?.discord,
      models: parts.model, memory: parts.memory, loop: parts.loop, disk: parts.disk, services,
    };
    for (const [name, told] of Object.entries(known)) this.tiles[name].element.hidden = !told;
  }

  draw() {
    if (!store.sections.status) return;
    this.#known();
    this.#answers();
    this.#times();
    this.#queue();
    this.#gateway();
    this.#models();
    this.#breakers();
    this.#memory();
    this.#loop();
    this.#disk();
    this.#services();
  }

  #answers() {
    const performance = store.sections.performance ?? {};
    const rate = performance.perMinute ?? 0;
    const errors = performance.errorRate;
    const last = facts("answers").lastAnswerSecondsAgo;
    this.tiles.answers.show({
      figure: number(rate), unit: "a minute", kind: kindOf("answers"),
      facts: [
        last === null || last === undefined ? "none yet" : `last ${span(last)} ago`,
        errors === null || errors === undefined ? "" : `${percent(errors)} of attempts failed in 5 min`,
      ].filter(Boolean).join(" · "),
    });
  }

  #times() {
    const performance = store.sections.performance;
    const total = performance?.responseTime;
    if (!total?.count) {
      this.tiles.times.show({ figure: "–", facts: "no answer in the last 5 minutes", more: [] });
      return;
    }
    const [figure, unit] = milliseconds(total.p95);
    const stages = Object.entries(performance.stages ?? {}).map(([name, stage]) => [name, stage.p95]);
    const sum = stages.reduce((all, [, value]) => all + value, 0) || 1;
    const key = stages.map(([, value]) => Math.round((value / sum) * 50)).join();
    this.tiles.times.show({
      figure, unit: `${unit} at p95`, facts: `p50 ${ms(total.p50)} · ${counted(total.count, "answer")} in 5 min`,
      more: this.stageKey === key ? undefined : [stageBar(stages, sum), h("ul", { class: "stage-key" }, stages.map(([name, value]) => h("li", { class: `stage-${name}` }, `${name} ${ms(value)}`)))],
    });
    this.stageKey = key;
  }

  #queue() {
    const waiting = facts("waiting");
    const queue = store.sections.queue ?? {};
    const workers = queue.workers;
    const share = (waiting.waiting ?? 0) / (waiting.capacity || 1);
    const dead = queue.byState?.dead ?? 0;
    this.tiles.queue.show({
      figure: number(waiting.waiting ?? 0), unit: "messages", kind: kindOf("waiting"),
      facts: [
        `${number(waiting.inFlight ?? 0)} being answered${workers ? ` by at most ${number(workers.limit)}` : ""}`,
        waiting.waiting ? `oldest ${span(waiting.oldestSeconds ?? 0)}` : "",
        `${percent(share)} of ${number(waiting.capacity ?? 0)}`,
        dead ? `${dead} given up` : "",
      ].filter(Boolean).join(" · "),
    });
  }

  #gateway() {
    const service = store.sections.services?.services?.discord;
    const gateway = store.sections.discord?.gateway ?? {};
    const age = facts("heartbeat").ageSeconds;
    const connected = service?.state === "running" && service?.health === "healthy";
    this.tiles.gateway.show({
      figure: age === null || age === undefined ? "" : span(age), unit: "since a heartbeat",
      kind: connected ? (part("heartbeat") ? kindOf("heartbeat") : "good") : (HEALTH[service?.health] ?? "wait"),
      word: connected ? "connected" : (service?.trouble || service?.state || "not known"),
      facts: [
        gateway.heartbeatLatencyMs === undefined || gateway.heartbeatLatencyMs === null ? "" : `latency ${ms(gateway.heartbeatLatencyMs)}`,
        gateway.sessionAgeSeconds === undefined || gateway.sessionAgeSeconds === null ? "" : `session of ${span(gateway.sessionAgeSeconds)}`,
        gateway.resumes ? `resumed ${gateway.resumes}×` : "",
        gateway.guilds ? `${number(gateway.guilds)} servers` : "",
      ].filter(Boolean).join(" · "),
      more: this.reconnect ?? (this.reconnect = act.button("discord/reconnect", null, { label: "Reconnect" }) ?? []),
    });
  }

  #models() {
    const { ready = facts("model").models ?? [], held = [] } = facts("model");
    const figures = store.sections.model?.models ?? {};
    const row = (name, isReady) => {
      const known = figures[name] ?? {};
      return h("li", {}, chip(isReady ? "good" : "pause", isReady ? "ready" : "held back"), h("strong", {}, name), h("span", { class: "row-facts" }, [
        known.calls ? counted(known.calls, "call") : "not asked yet",
        known.errors ? `${number(known.errors)} failed` : "",
        known.firstWords?.count ? `first words ${ms(known.firstWords.p95)} at p95` : "",
        ...Object.entries(known.quota ?? {}).map(([window, quota]) => `${number(quota.remaining)} of ${number(quota.limit)} left this ${window}`),
      ].filter(Boolean).join(" · ")));
    };
    const key = JSON.stringify([ready, held, figures]);
    this.tiles.models.show({
      kind: kindOf("model"), facts: "",
      more: key === this.modelKey ? undefined : h("ul", { class: "rows" }, ready.map((name) => row(name, true)), held.map((name) => row(name, false))),
    });
    this.modelKey = key;
  }

  #breakers() {
    const circuits = store.sections.circuits;
    if (!circuits) {
      this.tiles.breakers.element.hidden = true;
      return;
    }
    this.tiles.breakers.element.hidden = false;
    const now = store.now();
    const all = Object.entries(circuits).filter(([, breaker]) => breaker?.state);
    const open = all.filter(([, breaker]) => breaker.state !== "closed");
    this.breakers.show(Object.fromEntries(all), now);
    this.tiles.breakers.show({ kind: open.length ? "warn" : "good", word: open.length ? `${open.length} not closed` : "all closed" });
  }

  #memory() {
    const { residentBytes = 0, limitBytes = 1, trendBytesPerMinute: trend } = facts("memory");
    const [figure, unit] = bytes(residentBytes);
    const share = residentBytes / limitBytes;
    const key = Math.round(share * 100);
    this.tiles.memory.show({
      figure, unit: `${unit} of ${size(limitBytes)}`, kind: kindOf("memory"),
      facts: trend === undefined ? "" : trend === null ? "trend not known yet" : `${trend < 0 ? "−" : "+"}${size(Math.abs(trend))} a minute`,
      more: key === this.memoryKey ? undefined : [meter(share, "Memory used", kindOf("memory")), act.button("gc")],
    });
    this.memoryKey = key;
  }

  #loop() {
    const { lagMeanMs, lagWorstMs } = facts("loop");
    const [figure, unit] = milliseconds(lagWorstMs ?? 0);
    this.tiles.loop.show({
      figure: lagWorstMs === undefined ? "–" : figure, unit: `${unit} late at worst`, kind: lagWorstMs === undefined ? "wait" : kindOf("loop"),
      facts: lagMeanMs === undefined ? "" : `${ms(lagMeanMs)} on average, last 10 s`,
    });
  }

  #disk() {
    const { freeBytes, totalBytes } = facts("disk");
    const known = freeBytes !== null && freeBytes !== undefined;
    const [figure, unit] = bytes(freeBytes ?? 0);
    const unwritten = facts("audit").unwritten;
    this.tiles.disk.show({
      figure: known ? figure : "–", unit: `${unit} free`, kind: kindOf("disk"),
      facts: [known && totalBytes > 1 ? `of ${size(totalBytes)}` : "", unwritten ? `${unwritten} audit records wait for the disk` : ""].filter(Boolean).join(" · "),
    });
  }

  #services() {
    const all = Object.entries(store.sections.services?.services ?? {});
    const well = ([, service]) => service.state === "running" && service.health === "healthy";
    const running = all.filter(well);
    const restarts = all.reduce((sum, [, service]) => sum + service.restarts + service.taskRestarts, 0);
    const key = JSON.stringify(all.map(([name, service]) => [name, service.state, service.trouble]));
    this.tiles.services.show({
      figure: `${running.length} of ${all.length}`, unit: "run well", kind: running.length < all.length ? "warn" : "good", facts: `${number(restarts)} restarts`,
      more: key === this.serviceKey ? undefined : h("ul", { class: "names" }, all.map((entry) =>
        h("li", {}, chip(well(entry) ? "good" : (HEALTH[entry[1].health] ?? "wait"), well(entry) ? entry[0] : `${entry[0]}: ${entry[1].trouble || entry[1].state}`)))),
    });
    this.serviceKey = key;
  }
}

function stageBar(stages, sum) {
  const bar = h("div", { class: "stage-bar", role: "img", "aria-label": `Where the time goes: ${stages.map(([name, value]) => `${name} ${ms(value)}`).join(", ")}` });
  for (const [name, value] of stages) {
    const piece = h("i", { class: `stage-${name}` });
    piece.style.flexGrow = String(value / sum);
    bar.append(piece);
  }
  return bar;
}
