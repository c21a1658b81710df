// Messages on their way: claimed → queued → generating → delivering → done; never their words.
import { get, has } from "./api.js";
import { chip, fill, h, icon, openDialog } from "./dom.js";
import { details } from "./details.js";
import { joined, milliseconds, moment, span, timeOf } from "./format.js";
import { store } from "./store.js";

const LANES = [["claimed", "Claimed"], ["queued", "Queued"], ["generating", "Generating"], ["delivering", "Delivering"], ["done", "Done"]];
const ENDS = { done: ["good", "answered"], noticed: ["pause", "told why not"], dead: ["bad", "given up"] };
const SHOWN = 12;
const LANE_S = 60; // a message counts as claimed or done in the lanes for a minute
const LEDGER = "/api/ledger/{messageId}";

export class Flow {
  constructor({ most = SHOWN } = {}) {
    this.most = most;
    this.lanes = Object.fromEntries(LANES.map(([id, label]) => [id, { label, count: h("strong", {}, "0") }]));
    this.body = h("tbody");
    this.empty = h("p", { class: "nothing" }, "No message has come since the bot began.");
    this.rows = new Map();
    this.table = h("table", { class: "flow-rows" },
      h("thead", { class: "sr-only" }, h("tr", {}, ["State", "Message", "Way", "Time"].map((title) => h("th", { scope: "col" }, title)))), this.body);
    this.element = h("div", { class: "flow" },
      h("ol", { class: "lanes", "aria-label": "Messages by step; claimed and done count the last minute" }, LANES.map(([id, label], index) =>
        h("li", { class: `lane lane-${id}` }, this.lanes[id].count, h("span", {}, label), index < LANES.length - 1 ? icon("next") : null))),
      this.empty, this.table);
    this.stop = store.on("rows", () => this.draw());
    this.draw();
  }

  leave() {
    this.stop();
  }

  tick() {
    this.#count();
    for (const row of store.rows.values()) if (!(row.stage in ENDS)) this.rows.get(row.id)?.tick();
  }

  draw() {
    const newest = [...store.rows.values()].sort((one, other) => other.marks[0][1] - one.marks[0][1]).slice(0, this.most);
    this.empty.hidden = newest.length > 0;
    const shown = new Set(newest.map((row) => row.id));
    for (const [id, drawn] of this.rows) {
      if (shown.has(id)) continue;
      drawn.element.remove();
      this.rows.delete(id);
    }
    let before = null;
    for (const row of newest) {
      let drawn = this.rows.get(row.id);
      if (!drawn) {
        drawn = new FlowRow(row.id);
        this.rows.set(row.id, drawn);
      }
      drawn.show(row);
      const wanted = before ? before.nextSibling : this.body.firstChild;
      if (wanted !== drawn.element) this.body.insertBefore(drawn.element, wanted);
      before = drawn.element;
    }
    this.#count();
  }

  #count() {
    const now = store.now();
    const counts = { claimed: 0, queued: 0, generating: 0, delivering: 0, done: 0 };
    for (const row of store.rows.values()) {
      if (now - row.marks[0][1] < LANE_S) counts.claimed += 1;
      if (row.stage in ENDS) counts.done += now - row.marks.at(-1)[1] < LANE_S ? 1 : 0;
      else counts[row.stage] += 1;
    }
    for (const [id, { count }] of Object.entries(this.lanes)) {
      const words = String(counts[id]);
      if (count.textContent !== words) count.textContent = words;
      count.parentElement.classList.toggle("busy", counts[id] > 0);
    }
  }
}

/** One message; its way is drawn as the times between its marks. */
class FlowRow {
  constructor(id) {
    this.state = h("td", {});
    this.open = h("button", { class: "link", title: "Show its ledger", on: { click: () => showLedger(id) } }, `…${id.slice(-6)}`);
    this.place = h("span", { class: "row-facts" });
    this.bar = h("div", { class: "way", role: "img" });
    this.time = h("td", { class: "flow-time" });
    this.element = h("tr", {}, this.state, h("td", {}, this.open, this.place), h("td", { class: "flow-way" }, this.bar), this.time);
  }

  show(row) {
    this.row = row;
    const [kind, words] = ENDS[row.stage] ?? ["wait", row.stage];
    fill(this.state, chip(kind, words));
    this.place.textContent = [row.place.replace(/\d+(?=\d{6})/, "…"), row.model, row.troubles ? `${row.troubles} failed ${row.troubles === 1 ? "try" : "tries"}` : "", row.parts > 1 ? `${row.parts} parts` : ""].filter(Boolean).join(" · ");
    this.#way();
    this.tick();
  }

  #way() {
    const steps = pieces(this.row.marks);
    const all = steps.reduce((sum, [, seconds]) => sum + seconds, 0) || 1;
    fill(this.bar, steps.map(([stage, seconds]) => {
      const piece = h("i", { class: `stage-${stage}` });
      piece.style.flexGrow = String(Math.max(0.02, seconds / all));
      return piece;
    }));
    this.bar.setAttribute("aria-label", steps.map(([stage, seconds]) => `${stage} ${joined(milliseconds(seconds * 1000))}`).join(", ") || "just claimed");
  }

  tick() {
    const { marks, stage, totalMs } = this.row;
    const seconds = (stage in ENDS ? marks.at(-1)[1] : store.now()) - marks[0][1];
    const words = stage in ENDS ? joined(milliseconds(totalMs ?? seconds * 1000)) : span(seconds);
    if (this.time.textContent !== words) this.time.textContent = words;
  }
}

const STAGE_OF = { claimed: "queue", waiting: "queue", leased: "context", generating: "model", "model failed": "model", "model answered": "delivery", delivering: "delivery", "attempt failed": "queue" };

/** The stages that a message passed, each with its seconds; neighbours of one stage are joined. */
function pieces(marks) {
  const found = [];
  for (let index = 0; index < marks.length - 1; index += 1) {
    const stage = STAGE_OF[marks[index][0]];
    const seconds = marks[index + 1][1] - marks[index][1];
    if (!stage || seconds <= 0) continue;
    if (found.at(-1)?.[0] === stage) found.at(-1)[1] += seconds;
    else found.push([stage, seconds]);
  }
  return found;
}

/** What is known of one message: what this life remembers, then the durable record. */
export async function showLedger(id) {
  const row = store.rows.get(id);
  const record = h("div", {}, has("GET", LEDGER) ? h("p", { class: "small" }, "Reading the durable record…") : null);
  openDialog({ class: "ledger", "aria-labelledby": "ledger-title" },
    h("header", {}, h("h2", { id: "ledger-title" }, `Message ${id}`), h("form", { method: "dialog" }, h("button", { class: "icon-button", "aria-label": "Close" }, icon("close")))),
    row ? story(row.marks.map(([fact, at, detail]) => ({ fact, at, detail }))) : h("p", {}, "This life of the bot does not remember it."),
    record);
  if (!has("GET", LEDGER)) return;
  try {
    const answer = await get(LEDGER.replace("{messageId}", id));
    const { texts = [], textsHidden, story: told, ...rest } = answer;
    fill(record, h("h3", {}, "Durable record"), details(rest), row ? null : story(told.map(({ fact, at, detail }) => ({ fact, at: moment(at), detail }))),
      texts.length ? [h("h3", {}, "What was written"), texts.map((words, index) => h("blockquote", { class: index ? "answer" : "question" }, words))]
        : h("p", { class: "small" }, `What people wrote is not shown${textsHidden ? `: ${textsHidden}` : ""}.`));
  } catch (problem) {
    fill(record, h("p", { class: "small" }, problem.message));
  }
}

function story(lines) {
  const began = lines[0].at;
  return h("ol", { class: "story" }, lines.map(({ fact, at, detail }) => h("li", {},
    h("time", {}, timeOf(at)), h("span", { class: "after" }, `+${joined(milliseconds((at - began) * 1000))}`), h("strong", {}, fact), h("span", {}, detail))));
}
