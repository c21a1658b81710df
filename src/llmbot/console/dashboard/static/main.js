// Puts the page together: views by the address' hash, the hero, the connection.
import { learn } from "./actions.js";
import { byId, fill, h, meta, say } from "./dom.js";
import { span, timeOf } from "./format.js";
import { Hero } from "./hero.js";
import { Overview } from "./overview.js";
import { store } from "./store.js";

// Views beside the first are loaded when they are opened.
const VIEWS = [
  { id: "overview", title: "Overview", load: async () => Overview },
  { id: "messages", title: "Messages", load: async () => (await import("./view_messages.js")).MessagesView },
  { id: "incidents", title: "Incidents", load: async () => (await import("./view_incidents.js")).IncidentsView },
  { id: "actions", title: "Actions", load: async () => (await import("./view_actions.js")).ActionsView },
  { id: "parts", title: "Parts", load: async () => (await import("./view_services.js")).ServicesView },
  { id: "data", title: "Data", load: async () => (await import("./view_data.js")).DataView },
  { id: "audit", title: "Audit", load: async () => (await import("./view_audit.js")).AuditView },
  { id: "settings", title: "Settings", load: async () => (await import("./view_settings.js")).SettingsView },
];

const AGAIN_MS = 1000;

let current = null;
let shown = "";

async function show({ anew = false } = {}) {
  const [id, ...rest] = location.hash.slice(1).split("/");
  const view = VIEWS.find((each) => each.id === id) ?? VIEWS[0];
  const key = `${view.id}/${rest.join("/")}`;
  if (key === shown && !anew) return;
  const moved = shown !== "" && !anew;
  shown = key;
  for (const tab of byId("tabs").querySelectorAll("a")) {
    if (tab.hash === `#${view.id}`) {
      tab.setAttribute("aria-current", "page");
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else tab.removeAttribute("aria-current");
  }
  current?.leave();
  const place = fill(byId("view"));
  place.className = `view view-${view.id}`;
  const View = await view.load();
  if (shown !== key) return;
  current = new View(place, rest.map(decodeURIComponent));
  document.body.classList.toggle("small-hero", view.id !== "overview");
  if (!moved) return;
  scrollTo(0, 0);
  place.focus({ preventScroll: true });
}

function connection() {
  const live = byId("live");
  document.body.classList.toggle("lost", !store.connected);
  if (store.connected) {
    live.className = "live";
    say(live, "Live");
    return;
  }
  live.className = "live lost";
  const silent = store.lastAt ? Math.max(0, store.now() - store.lastAt) : 0;
  say(live, store.lastAt ? `Connection to the bot lost ${span(silent)} ago. Figures are of ${timeOf(store.lastAt)}. Trying again…` : "Connecting to the bot…");
}

function account() {
  const place = byId("account");
  const simulator = meta("simulator");
  fill(place,
    simulator ? h("a", { class: "button quiet", href: simulator, target: "_blank", rel: "noopener noreferrer" }, h("span", { class: "not-narrow" }, "Simulated "), "Discord") : null,
    place.dataset.role && meta("form-token") ? h("form", { method: "post", action: "/dashboard/sign-out" },
      h("input", { type: "hidden", name: "form_token", value: meta("form-token") }), h("button", { class: "quiet" }, `Sign out (${place.dataset.role})`)) : null);
}

/** What may be done is asked of the bot first; while it does not answer, there is nothing to offer. */
async function offer(hero) {
  let learned = false;
  while (!learned) {
    learned = await learn().then(() => true, () => false);
    hero.offer();
    await show({ anew: true });
    if (!learned) await new Promise((resume) => setTimeout(resume, AGAIN_MS));
  }
  document.documentElement.dataset.ready = "yes";
}

function begin() {
  fill(byId("tabs"), h("ul", {}, VIEWS.map((view) => h("li", {}, h("a", { href: `#${view.id}` }, view.title)))));
  account();
  const hero = new Hero();
  store.on("connection", connection);
  addEventListener("hashchange", () => show());
  store.listen();
  offer(hero);
  setInterval(() => {
    store.check();
    if (document.hidden) return;
    hero.tick();
    current?.tick?.();
  }, 1000);
}

begin();
