// Every fault of the simulators, with probability, time, count and what else shapes it.
import { api } from "./api.js";
import { fill, h, span } from "./dom.js";

const GROUPS = [
  ["gemini", "The model (Gemini)"],
  ["gateway", "Discord's gateway"],
  ["rest", "Discord's REST API"],
  ["openai", "The model (OpenAI-compatible)"],
];
const DEFAULT_S = 30;

export class Faults {
  constructor(element, { complain, changed }) {
    Object.assign(this, { element, complain, changed });
    this.known = {};
    this.rows = new Map();
    this.active = {};
  }

  async begin() {
    const { known } = await api.faults();
    this.known = known;
    this.status = h("p", { class: "lead" });
    this.off = h("button", { class: "quiet", on: { click: () => this.#try(() => api.faultsOff()) } }, "Switch all off");
    const filter = h("input", { type: "search", placeholder: "Find a fault…", "aria-label": "Find a fault", on: { input: (event) => this.#filter(event.target.value) } });
    fill(this.element, h("div", { class: "fault-head" }, this.status, this.off), filter,
      GROUPS.map(([prefix, title]) => h("section", { class: "fault-group" }, h("h3", {}, title),
        h("ul", {}, Object.entries(known).filter(([name]) => name.startsWith(`${prefix}.`)).map(([name, about]) => this.#row(name, about))))));
    this.show({});
  }

  #row(name, about) {
    const words = about.replace(/;? ?\(rows? [\d, ]+\)$/, "");
    const [what, ...shaping] = words.split(/; |, (?=`)/);
    const fields = paramsOf(name, words);
    const input = (key, label, props) => h("label", {}, h("span", {}, label), h("input", { name: key, type: "number", ...props }));
    const form = h("form", { class: "fault-form", on: { submit: (event) => { event.preventDefault(); this.#on(name, form); } } },
      h("label", {}, h("span", {}, "Chance in %"), h("input", { name: "chance", type: "number", min: "1", max: "100", value: "100" })),
      input("seconds", "For seconds", { min: "0.1", step: "any", value: String(DEFAULT_S), placeholder: "no end" }),
      input("times", "Times at most", { min: "1", placeholder: "any" }),
      fields.map((field) => h("label", {}, h("span", {}, field), h("input", { name: `param:${field}`, placeholder: "default" }))),
      shaping.length ? h("p", { class: "small" }, shaping.join("; ").replaceAll("`", "")) : null,
      h("button", { class: "primary" }, "Switch on"));
    const details = h("details", { class: "fault-more" }, h("summary", { "aria-label": `Options of ${name}` }, "Options"), form);
    const toggle = h("button", { class: "switch", role: "switch", "aria-checked": "false", "aria-label": name, on: { click: () =>
      this.active[name] ? this.#try(() => api.faultOff(name)) : this.#on(name, form) } }, h("i"));
    const state = h("span", { class: "fault-state" });
    const row = h("li", { class: "fault", data: { name, words: `${name} ${words}`.toLowerCase() } },
      h("div", { class: "fault-line" }, h("div", { class: "fault-words" }, h("strong", {}, name.split(".")[1].replaceAll("_", " ")), h("span", {}, what.replaceAll("`", ""))), toggle),
      state, details);
    this.rows.set(name, { row, toggle, state });
    return row;
  }

  async #on(name, form) {
    const value = (key) => form.elements[key]?.value.trim() ?? "";
    const params = {};
    for (const element of form.elements) {
      if (!element.name.startsWith("param:") || !element.value.trim()) continue;
      const number = Number(element.value);
      params[element.name.slice(6)] = Number.isNaN(number) ? element.value.trim() : number;
    }
    await this.#try(() => api.faultOn(name, {
      probability: Number(value("chance") || 100) / 100,
      ...(value("seconds") && { seconds: Number(value("seconds")) }),
      ...(value("times") && { times: Number(value("times")) }),
      params,
    }));
  }

  async #try(act) {
    try {
      await act();
      this.changed();
    } catch (error) {
      this.complain(error);
    }
  }

  #filter(words) {
    const wanted = words.trim().toLowerCase();
    for (const { row } of this.rows.values()) row.hidden = !row.dataset.words.includes(wanted);
    for (const group of this.element.querySelectorAll(".fault-group")) group.hidden = !group.querySelector(".fault:not([hidden])");
  }

  /** Show which are on. */
  show(active) {
    this.active = active;
    const count = Object.keys(active).length;
    if (!this.status) return;
    this.status.textContent = count ? `${count} switched on.` : "Nothing is broken. Switch something on.";
    this.off.disabled = !count;
    for (const [name, { row, toggle, state }] of this.rows) {
      const fault = active[name];
      row.classList.toggle("on", Boolean(fault));
      toggle.setAttribute("aria-checked", String(Boolean(fault)));
      state.textContent = fault ? [
        "On", fault.probability < 1 ? `${Math.round(fault.probability * 100)} %` : "",
        fault.secondsLeft === null ? "until switched off" : `${span(fault.secondsLeft)} left`,
        fault.timesLeft === null ? "" : `${fault.timesLeft}× left`, `struck ${fault.struck}×`,
      ].filter(Boolean).join(" · ") : "";
    }
  }
}

/** The parameters that a fault's description names. */
function paramsOf(name, words) {
  const named = [...words.matchAll(/`([a-z_]+)`/g)].map((found) => found[1]);
  return [...new Set(name.startsWith("rest.") ? [...named, "route"] : named)];
}
