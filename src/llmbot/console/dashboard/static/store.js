// What the bot tells, as it tells it; and whether it still does.
import { announce } from "./dom.js";

const SILENT_AFTER_MS = 5000;
const AGAIN_MS = 2000;
const ROWS_MAX = 200;

class Store {
  sections = {};
  rows = new Map(); // messages on their way, oldest first
  happenings = new Map();
  connected = false;
  lastAt = 0; // the server's time of the last news, in seconds
  #listeners = new Map();
  #life = null;
  #offset = 0; // server's clock minus ours, in seconds
  #heardAt = 0; // performance.now()
  #source = null;

  on(topic, listener) {
    if (!this.#listeners.has(topic)) this.#listeners.set(topic, new Set());
    this.#listeners.get(topic).add(listener);
    return () => this.#listeners.get(topic).delete(listener);
  }

  #tell(topic) {
    for (const listener of this.#listeners.get(topic) ?? []) listener(this);
  }

  /** The server's time now, in seconds since the epoch. */
  now() {
    return Date.now() / 1000 + this.#offset;
  }

  listen() {
    this.#source?.close();
    const source = (this.#source = new EventSource("/dashboard/feed"));
    const on = (name, take) => source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    on("now", (now) => this.#heard(now));
    for (const name of ["status", "degradation", "circuits", "performance", "services", "queue", "memory", "model", "discord", "diagnosis", "incidents", "incident", "rails", "history", "page"]) {
      on(name, (section) => {
        this.sections[name] = section;
        this.#changed(name);
      });
    }
    on("rows", (rows) => {
      for (const row of rows) {
        this.rows.delete(row.id); // it moves to the end
        this.rows.set(row.id, row);
      }
      while (this.rows.size > ROWS_MAX) this.rows.delete(this.rows.keys().next().value);
      this.#changed("rows");
    });
    on("happenings", (all) => {
      for (const each of all) this.happenings.set(each.number, each);
      while (this.happenings.size > ROWS_MAX) this.happenings.delete(this.happenings.keys().next().value);
      this.#changed("happenings");
    });
    source.addEventListener("error", () => {
      this.#lost();
      // A browser gives up after an answer that is no stream, such as a refusal; we do not.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.listen(), AGAIN_MS);
    });
  }

  /** Several sections come at once: whoever listens is told once, after the last. */
  #due = new Set();
  #changed(topic) {
    if (!this.#due.size) requestAnimationFrame(() => this.#flush());
    this.#due.add(topic);
  }

  #flush() {
    const due = [...this.#due];
    this.#due.clear();
    for (const topic of due) this.#tell(topic);
    this.#tell("any");
  }

  #heard({ at, life }) {
    this.#offset = at - Date.now() / 1000;
    this.lastAt = at;
    this.#heardAt = performance.now();
    if (this.#life !== null && life !== this.#life) {
      // Another life of the bot: what the last one remembered went with it.
      this.rows.clear();
      this.happenings.clear();
      announce("The bot was started anew.");
      this.#changed("rows");
      this.#changed("happenings");
    }
    this.#life = life;
    if (!this.connected) {
      this.connected = true;
      this.#tell("connection");
    }
  }

  #lost() {
    if (!this.connected) return;
    this.connected = false;
    this.#tell("connection");
  }

  /** Called each second: silence counts as a lost connection too. */
  check() {
    if (this.connected && performance.now() - this.#heardAt > SILENT_AFTER_MS) this.#lost();
    if (!this.connected) this.#tell("connection");
  }
}

export const store = new Store();
