// Small helpers: making elements, telling times, saying things to screen readers.

/** Make an element. Props: `class`, `on` (listeners), `data`, anything else an attribute. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Put children in the place of those an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

const ICONS = {
  menu: "M3 6h18M3 12h18M3 18h18",
  close: "M5 5l14 14M19 5L5 19",
  send: "M4 12l16-8-6 16-2.5-6.5z",
  attach: "M8 12.5l6.5-6.5a3.5 3.5 0 0 1 5 5L11 19.5a5.5 5.5 0 0 1-8-8L11 3.5",
  reply: "M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6v1",
  react: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8.5 14.5a4.5 4.5 0 0 0 7 0M9 9.5v.01M15 9.5v.01",
  edit: "M4 20l1-5L16 4l4 4L9 19z",
  remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  thread: "M5 4h14v11H12l-4 4v-4H5z",
  bolt: "M13 2L4 14h6l-1 8 9-12h-6z",
  check: "M4 12.5l5 5L20 6.5",
  out: "M9 5H5v14h14v-4M13 4h7v7M20 4l-9 9",
};

/** A line drawing; it says nothing by itself, so whoever uses it names the control. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Say something to who cannot see it. */
export function announce(words) {
  byId("announcer").textContent = words;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const timeOf = (iso) => clock.format(new Date(iso));
export const exactTimeOf = (iso) => exact.format(new Date(iso));

/** Seconds as people say them: 4 s, 2 min 05 s, 1 h 03 min. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1000).toFixed(1)} kB`;
  return `${(count / 1_000_000).toFixed(1)} MB`;
}

/** One of six colours, always the same for the same id. */
export function tint(id) {
  let sum = 0;
  for (const letter of String(id)) sum = (sum * 31 + letter.charCodeAt(0)) % 9973;
  return `tint-${sum % 6}`;
}

/** A menu or dialog that closes on Escape and on a click outside; returns what closes it. */
export function popover(element, { anchor, onClose } = {}) {
  const close = () => {
    document.removeEventListener("keydown", key, true);
    document.removeEventListener("pointerdown", outside, true);
    element.remove();
    onClose?.();
    anchor?.focus();
  };
  const key = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  };
  const outside = (event) => {
    if (!element.contains(event.target)) close();
  };
  document.addEventListener("keydown", key, true);
  document.addEventListener("pointerdown", outside, true);
  return close;
}
