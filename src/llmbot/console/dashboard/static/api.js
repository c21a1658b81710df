// What the page asks of the API, like everybody else.
import { meta } from "./dom.js";

const offered = JSON.parse(meta("offered") || "{}");

/** Whether this API has a path; `{name}` in it stands as it is. */
export const has = (method, path) => (offered[method] ?? []).includes(path);

/** A refusal or failure (RFC 9457), with what to do about it. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.reason ?? `The bot answered ${status}.`);
    this.status = status;
    this.remedy = body.remedy ?? "";
    this.body = body;
  }
}

async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-Form-Token"] = meta("form-token");
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Problem(0, { detail: "The bot does not answer.", remedy: "It may be starting; this page comes back by itself." });
  }
  if (answer.status === 401) location.assign("/dashboard/sign-in");
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, read);
  return read;
}

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body ?? {});

/** A path with its `{names}` filled in. */
export const filled = (path, values) => path.replaceAll(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values[name] ?? ""));
