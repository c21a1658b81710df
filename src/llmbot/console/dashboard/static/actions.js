// Every action of the API, as the API itself lists them; here are only short names and an order.
import { get } from "./api.js";
import { humanize } from "./format.js";
import { store } from "./store.js";

const GROUPS = {
  Modes: {
    "maintenance/enable": "Begin maintenance", "maintenance/disable": "End maintenance",
    "degradation/enable": "Hold a level of degradation", "degradation/disable": "Release the degradation",
    "queue/enable": "Queue every message", "queue/disable": "Serve at once again",
  },
  "Circuit breakers": { "circuit/reset": "Reset a breaker", "circuit/reset/all": "Reset all breakers", "circuit/trip": "Trip a breaker", "circuit/trip/all": "Trip all breakers" },
  "Queue and workers": {
    "queue/process": "Process what waits now", "queue/process-priority": "Process high priority now",
    "concurrency/reduce": "Halve the workers", "concurrency/restore": "Restore the workers", "handlers/restart": "Re-attach the event handlers",
  },
  Services: { "service/restart": "Restart a service", "discord/reconnect": "Reconnect to Discord", restart: "Restart the bot" },
  "Memory and temporary data": {
    gc: "Collect garbage", "cache/clear": "Clear the caches", "temp/cleanup": "Clean up temporary files", "race-condition/clear": "Clear the memory of processed messages",
    "context/restart": "Restart the large-context workers", "context/retry-failed": "Retry failed chunks", "context/cleanup": "Clean up after large contexts",
  },
  "Locks and limits": { "mutex/cleanup": "Clean up mutexes", "mutex/force-release": "Force a mutex open", "mutex/reset-stats": "Reset the mutex figures", "ratelimit/reset": "Reset rate limits" },
  Data: {
    "datastore/validate-all": "Validate all files", "datastore/validate": "Validate a file", "datastore/recover": "Recover a file",
    "datastore/restore": "Restore a file", "datastore/versions": "Versions of a file", "datastore/scan": "Scan all files and versions", "datastore/backup": "Back up all files",
  },
  Settings: { "config/change": "Change settings" },
  Automation: {
    "runbooks/pause": "Pause automation, or end the pause", "runbooks/kill": "Kill switch of automation", "runbooks/run": "Run a runbook",
    "runbooks/approve": "Approve a runbook", "incidents/note": "Add a note to an incident",
  },
  Drills: { "drills/run": "Run a drill" },
  Tests: { "test/echo": "Echo", "test/command": "A command", "test/gemini": "One model call", "test/discord-message": "Discord message", "test/rate-limit": "Rate limit", "test/load": "Load", "test/e2e": "End to end", verify: "Validation checklist" },
};
const OTHERS = [["test/", "Tests"], ["drills", "Drills"], ["runbooks", "Automation"], ["incidents", "Automation"], ["circuit", "Circuit breakers"], ["datastore", "Data"], ["config", "Settings"], ["mutex", "Locks and limits"], ["queue", "Queue and workers"]];

/** Where names stand that the API's list does not tell, by the first word of the path. */
const NAMES = {
  incidents: () => Object.keys(store.sections.incidents?.incidents ?? {}),
  drills: async () => Object.keys((await get("/api/drills")).drills),
  runbooks: async () => Object.keys((await get("/api/runbooks")).runbooks),
};

/** A path without its targets: `circuit/reset` for /api/admin/circuit/reset/{target}. */
const idOf = (path) => path.replace(/^\/api\/(admin\/)?/, "").replaceAll(/\/\{\w+\}/g, "");

let known = new Map();
let role = 0;

/** Read the API's list; again before a question is asked, for the names that there are now. */
export async function learn() {
  const answer = await get("/dashboard/actions");
  role = answer.role;
  known = new Map(answer.actions.map((action) => [idOf(action.path), described(action)]));
}

function described(action) {
  const id = idOf(action.path);
  const group = Object.keys(GROUPS).find((each) => id in GROUPS[each]) ?? OTHERS.find(([start]) => id.startsWith(start))?.[1] ?? "Others";
  return { ...action, id, group, label: GROUPS[group]?.[id] ?? humanize(id.split("/").slice(-2).join(" ").replaceAll("-", " ")), allowed: role >= action.role };
}

export const find = (id) => known.get(id) ?? null;

/** All of them: in our order, then those that are new to us. */
export function all() {
  const order = Object.values(GROUPS).flatMap((group) => Object.keys(group));
  const place = (action) => (order.includes(action.id) ? order.indexOf(action.id) : order.length);
  const groups = [...Object.keys(GROUPS), "Others"];
  return [...known.values()].sort((one, other) => groups.indexOf(one.group) - groups.indexOf(other.group) || place(one) - place(other));
}

/** The names that a target may have now. */
export async function choices(action, target) {
  if (target.choices.length) return target.choices;
  const names = NAMES[action.id.split("/")[0]];
  try {
    return names ? await names() : action.id.startsWith("datastore/") ? (store.files ?? []) : [];
  } catch {
    return [];
  }
}
