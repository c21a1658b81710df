// Every action that the operations API offers: what it will do, and what harm it may do.
import { store } from "./store.js";

const keys = (section) => Object.keys(section ?? {});
const circuits = () => keys(store.sections.circuits);
const services = () => keys(store.sections.services?.services);
const mutexes = () => store.known?.mutexes ?? [];
const files = () => store.known?.files ?? [];
const LEVELS = () => ["low", "medium", "high"];

function action(group, id, label, what, more = {}) {
  return { group, id, label, what, harm: "", fields: [], body: {}, path: `/api/admin/${id}`, ...more };
}

const pick = (name, label, choices, more = {}) => ({ name, label, choices, ...more });

export const ACTIONS = [
  action("Modes", "maintenance/enable", "Begin maintenance", "New messages get one notice per channel and wait, durably, until maintenance ends.",
    { harm: "Nobody is answered until you end it. Nothing is lost." }),
  action("Modes", "maintenance/disable", "End maintenance", "What waited is answered now."),
  action("Modes", "degradation/enable", "Force a level of degradation", "Holds this level whatever the readings say, until released.",
    { fields: [pick("level", "Level", LEVELS)], harm: "What the level switches off is missing to everybody." }),
  action("Modes", "degradation/disable", "Release the degradation", "Lets the readings decide again."),
  action("Modes", "queue/enable", "Queue every message", "Each new message gets a place in the queue and a notice of the expected wait.",
    { harm: "Everybody waits longer, and is told so." }),
  action("Modes", "queue/disable", "Serve at once again", "All that waits is due now."),

  action("Circuit breakers", "circuit/reset/{name}", "Reset a breaker", "Closes it and clears its window; what waited for it is tried at once.",
    { fields: [pick("name", "Breaker", circuits)] }),
  action("Circuit breakers", "circuit/reset/all", "Reset all breakers", "Closes all and clears their windows."),
  action("Circuit breakers", "circuit/trip/{name}", "Trip a breaker", "Opens it: nothing more is asked there until it is reset.",
    { fields: [pick("name", "Breaker", circuits)], harm: "What depends on it fails or is answered by a stand-in." }),
  action("Circuit breakers", "circuit/trip/all", "Trip all breakers", "Opens every one.", { path: "/api/admin/circuit/trip/all", harm: "Nobody is answered until they are reset. Messages wait." }),

  action("Queue and workers", "queue/process", "Process what waits now", "Brings the due time of every waiting message forward to now."),
  action("Queue and workers", "queue/process-priority", "Process high priority now", "The same for all but background work."),
  action("Queue and workers", "concurrency/reduce", "Halve the workers", "Never below one; answers under way go on.", { harm: "Answers take longer while many ask." }),
  action("Queue and workers", "concurrency/restore", "Restore the workers", "Their number rises again, one every few seconds."),
  action("Queue and workers", "handlers/restart", "Re-attach the event handlers", "Messages that arrive meanwhile are not lost."),

  action("Services", "service/restart/{serviceName}", "Restart a service", "Stops and starts it and those that depend on it, in order, under time limits.",
    { fields: [pick("serviceName", "Service", services)], harm: "What depends on it stands still for a moment." }),
  action("Services", "discord/reconnect", "Reconnect to Discord", "Closes the gateway session and connects anew, resuming where possible.",
    { harm: "The bot hears nothing for a moment, and catches up afterwards." }),
  action("Services", "restart", "Restart the bot", "Stops cleanly and starts anew; unfinished answers go on afterwards.",
    { harm: "The bot is away for a few seconds, and so is this page." }),

  action("Memory and temporary data", "gc", "Collect garbage", "A full collection; freed memory goes back to the system where the platform can."),
  action("Memory and temporary data", "cache/clear", "Clear the caches", "Everything that can be rebuilt."),
  action("Memory and temporary data", "temp/cleanup", "Clean up temporary files", "Removes those without a live job."),
  action("Memory and temporary data", "race-condition/clear", "Clear the record of processed messages", "Empties the cache in memory, not the durable record that prevents a second reply."),
  action("Memory and temporary data", "context/restart", "Restart the large-context workers", "Their work is taken up again."),
  action("Memory and temporary data", "context/retry-failed", "Retry failed chunks", "Says how many succeeded."),

  action("Locks and limits", "mutex/cleanup", "Clean up mutexes", "Frees those whose holder is gone and drops idle entries."),
  action("Locks and limits", "mutex/force-release/{name}", "Force a mutex open", "Cancels the holder and wakes the next waiter.",
    { fields: [pick("name", "Mutex", mutexes)], harm: "What the holder was doing is cancelled." }),
  action("Locks and limits", "mutex/reset-stats", "Reset the mutex figures", "Counts begin at zero."),
  action("Locks and limits", "ratelimit/reset", "Reset rate limits", "Forgets what was counted, of all scopes or of one.",
    { fields: [{ name: "scope", label: "Scope (empty: all)", optional: true, hint: "user:123" }], harm: "Whoever used up a limit may write at once." }),

  action("Data", "datastore/validate-all", "Validate all files", "Reads and checks each one."),
  action("Data", "datastore/validate/{fileName}", "Validate a file", "Reads and checks it.", { fields: [pick("fileName", "File", files)] }),
  action("Data", "datastore/recover/{fileName}", "Recover a file", "A corrupt file goes to quarantine, and the newest valid generation comes back.",
    { fields: [pick("fileName", "File", files)], harm: "What the newest valid generation does not hold is gone from the file; quarantine keeps it." }),

  ...[
    ["echo", "Echo", "A synthetic message through the whole pipeline with an echo model."],
    ["gemini", "One model call", "One real, small call through breaker, limiter and retries; it costs quota."],
    ["discord-message", "Discord message", "Really sends a message to the test channel and reads it back."],
    ["e2e", "End to end", "Message in, model, reply on Discord, reply read back."],
    ["rate-limit", "Rate limit", "Shows on a scratch scope that the limiter admits, refuses and frees again."],
    ["load", "Load", "A synthetic message, counted in the response times."],
  ].map(([id, label, what]) => action("Tests", `test/${id}`, label, what, { path: `/api/test/${id}` })),
  action("Tests", "test/command", "A command", "Runs a command's real handler as a synthetic user.",
    { path: "/api/test/command", fields: [{ name: "command", label: "Command", hint: "ping" }], body: { userId: "test" } }),
];
