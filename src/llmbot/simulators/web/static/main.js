// Puts the page together.
import { Composer } from "./composer.js";
import { byId, fill, h, icon } from "./dom.js";
import { Messages } from "./messages.js";
import { Panel } from "./panel.js";
import { Sidebar } from "./sidebar.js";
import { World } from "./world.js";

const COMPLAINT_MS = 7000;
const AGAIN_MS = 2000;

/** Say what did not work, where everybody sees it. */
function complain(error) {
  const toast = h("div", { class: "toast", role: "alert" }, error.message);
  document.body.append(toast);
  setTimeout(() => toast.remove(), COMPLAINT_MS);
}

/** On narrow screens the sides are drawers; only one is open at a time. */
function drawers() {
  const frame = byId("frame");
  const backdrop = byId("backdrop");
  const open = (name) => {
    frame.dataset.open = name ?? "";
    backdrop.hidden = !name;
    byId("open-places").setAttribute("aria-expanded", String(name === "places"));
    byId("open-panel").setAttribute("aria-expanded", String(name === "panel"));
    if (name) byId(name).querySelector("button, select")?.focus();
  };
  const toggle = (name) => open(frame.dataset.open === name ? null : name);
  byId("open-places").addEventListener("click", () => toggle("places"));
  byId("open-panel").addEventListener("click", () => toggle("panel"));
  backdrop.addEventListener("click", () => open(null));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !frame.dataset.open) return;
    const opener = byId(`open-${frame.dataset.open}`);
    open(null);
    opener.focus();
  });
  return () => open(null);
}

function connectionLine(world) {
  const line = byId("connection");
  let lost = false;
  world.on("connection", (connected) => {
    if (connected === !lost) return;
    lost = !connected;
    line.hidden = connected;
    line.textContent = connected ? "" : "Connection to the simulator lost. Trying again…";
  });
}

function begin() {
  fill(byId("open-places"), icon("menu"));
  const world = new World();
  const close = drawers();
  connectionLine(world);
  new Sidebar(world, { complain, moved: close });
  const composer = new Composer(world, { complain });
  new Messages(world, { complain, reply: (message) => composer.reply(message) });
  const panel = new Panel(world, { complain, show: close, say: (words, channel) => composer.say(words, channel) });
  const start = async () => {
    try {
      await world.begin();
      await panel.begin();
      document.documentElement.dataset.ready = "yes";
    } catch (error) {
      complain(error);
      setTimeout(start, AGAIN_MS);
    }
  };
  start();
}

begin();
