// What the page asks of the simulator, and the stream of what happens in its world.

/** An answer that is no success; its message is for people. */
export class Refused extends Error {}

async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused("The simulator does not answer.");
  }
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const words = typeof read.error === "string" ? read.error : read.error?.message;
    throw new Refused(words ?? `The simulator said ${answer.status}.`);
  }
  return read;
}

const DISCORD = "/_sim/discord";
const query = (values) => new URLSearchParams(values).toString();

export const api = {
  world: () => call("GET", `${DISCORD}/world`),
  messages: (place) => call("GET", `${DISCORD}/messages?${query({ ...place, limit: 150, versions: 0 })}`),
  message: (id) => call("GET", `${DISCORD}/messages/${id}`),
  interaction: (id) => call("GET", `${DISCORD}/interactions/${id}`),
  say: (body) => call("POST", `${DISCORD}/say`, body),
  edit: (id, content) => call("POST", `${DISCORD}/messages/${id}/edit`, { content }),
  remove: (id) => call("POST", `${DISCORD}/messages/${id}/delete`, {}),
  react: (body) => call("POST", `${DISCORD}/reactions`, body),
  typing: (body) => call("POST", `${DISCORD}/typing`, body),
  interact: (body) => call("POST", `${DISCORD}/interact`, body),
  addUser: (name, guild) => call("POST", `${DISCORD}/users`, { name, guild }),
  addThread: (body) => call("POST", `${DISCORD}/threads`, body),
  addChannel: (body) => call("POST", `${DISCORD}/channels`, body),
  gateway: () => call("GET", `${DISCORD}/gateway`),
  gatewayAct: (action, more = {}) => call("POST", `${DISCORD}/gateway`, { action, ...more }),
  faults: () => call("GET", "/_sim/faults"),
  faultOn: (name, body) => call("PUT", `/_sim/faults/${name}`, body),
  faultOff: (name) => call("DELETE", `/_sim/faults/${name}`),
  faultsOff: () => call("DELETE", "/_sim/faults"),
  panel: () => call("GET", "/_sim/panel"),
  modelStats: () => call("GET", "/_sim/gemini/stats"),
  killBot: () => call("POST", "/_sim/bot/kill", {}),
};

/**
 * Hear every event after an id. `onState(false)` when the connection is lost; `onRestart` when the
 * simulator has begun anew, so that what is known of its world is worth nothing.
 */
export function listen(after, { onEvent, onState, onRestart }) {
  let last = after;
  const source = new EventSource(`${DISCORD}/events?after=${after}`);
  source.addEventListener("open", () => onState(true));
  source.addEventListener("error", () => {
    onState(false);
    // A browser gives up after an answer that is no stream; the simulator may be back later.
    if (source.readyState === EventSource.CLOSED) setTimeout(onRestart, 2000);
  });
  source.addEventListener("hello", (event) => {
    if (JSON.parse(event.data).last_event_id < last) {
      source.close();
      onRestart();
    }
  });
  source.addEventListener("message", (event) => {
    const happened = JSON.parse(event.data);
    last = happened.id;
    onEvent(happened);
  });
  return () => source.close();
}
