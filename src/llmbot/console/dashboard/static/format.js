// Figures as people read them.

const two = (number) => String(Math.floor(number)).padStart(2, "0");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

/** 4 s, 2 min 05 s, 1 h 03 min, 2 d 4 h. */
export function span(seconds) {
  const left = Math.max(0, Math.round(seconds));
  if (left < 60) return `${left} s`;
  if (left < 3600) return `${Math.floor(left / 60)} min ${two(left % 60)} s`;
  if (left < 86_400) return `${Math.floor(left / 3600)} h ${two((left % 3600) / 60)} min`;
  return `${Math.floor(left / 86_400)} d ${Math.floor((left % 86_400) / 3600)} h`;
}

/** A countdown: 01:24. */
export function countdown(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  return left >= 3600 ? `${Math.floor(left / 3600)}:${two((left % 3600) / 60)}:${two(left % 60)}` : `${two(left / 60)}:${two(left % 60)}`;
}

/** [figure, unit], so that the unit can be small. */
export function milliseconds(ms) {
  if (ms < 1000) return [whole.format(ms), "ms"];
  if (ms < 10_000) return [fine.format(ms / 1000), "s"];
  return [whole.format(ms / 1000), "s"];
}

export function bytes(count) {
  const size = Math.abs(count);
  if (size < 1000) return [whole.format(count), "B"];
  if (size < 1e6) return [fine.format(count / 1e3), "kB"];
  if (size < 1e9) return [(size < 1e7 ? fine : whole).format(count / 1e6), "MB"];
  return [fine.format(count / 1e9), "GB"];
}

export const joined = ([figure, unit]) => `${figure} ${unit}`;
export const number = (value) => (Number.isInteger(value) ? whole.format(value) : fine.format(value));
/** 1 call, 2 calls. */
export const counted = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
export const percent = (share) => `${(share * 100).toFixed(share && share < 0.1 ? 1 : 0)} %`;
export const timeOf = (seconds) => clock.format(new Date(seconds * 1000));
export const fullTimeOf = (seconds) => full.format(new Date(seconds * 1000));

/** Seconds since the epoch from what the API tells of times: such seconds, or RFC 3339. */
export function moment(value) {
  if (typeof value === "number") return value > 1e11 ? value / 1000 : value;
  const parsed = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(parsed) ? null : parsed / 1000;
}

/** camelCase as words. */
export function humanize(key) {
  const words = key.replaceAll(/([a-z\d])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
