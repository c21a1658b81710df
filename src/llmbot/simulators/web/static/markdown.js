// Discord's Markdown as nodes of the page. Text never becomes markup: only nodes are made.
import { h } from "./dom.js";
import { highlight } from "./highlight.js";

const INLINE = new RegExp(
  [
    String.raw`(?<escape>\\[\\*_~|\`<>#\-\[\]()])`,
    String.raw`(?<code>(?<ticks>\`+)(?<codeText>[^\n]*?[^\`\n])\k<ticks>(?!\`))`,
    String.raw`(?<mention><(?:@!?|@&|#)\d{1,20}>)`,
    String.raw`(?<order>\[\[\/?[a-z]{1,12}(?::[A-Za-z0-9_.]{1,24})?\]\])`,
    String.raw`(?<emoji><a?:(?<emojiName>\w{1,32}):\d{1,20}>)`,
    String.raw`(?<link>\[(?<linkText>[^\]\n]{1,400})\]\(<?(?<linkTo>https?:\/\/[^\s<>)]{1,800})>?\))`,
    String.raw`(?<url><?(?<bare>https?:\/\/[^\s<>]{1,800}[^\s<>.,:;"'\])])>?)`,
    String.raw`(?<strong>\*\*(?<strongText>(?:[^*]|\*(?!\*))+?\*?)\*\*)`,
    String.raw`(?<under>__(?<underText>(?:[^_]|_(?!_))+?)__)`,
    String.raw`(?<strike>~~(?<strikeText>.+?)~~)`,
    String.raw`(?<spoiler>\|\|(?<spoilerText>.+?)\|\|)`,
    String.raw`(?<em>\*(?<emText>[^*\s](?:[^*]*[^*\s])?)\*)`,
    String.raw`(?<em2>\b_(?<em2Text>[^_]+)_\b)`,
  ].join("|"),
  "gs",
);

/** Nodes for a whole message; `names` finds people, roles and channels by id. */
export function render(text, names) {
  const nodes = [];
  const fence = /```(?:([\w+#.-]{1,20})\n)?\n?([\s\S]*?)\n?```/g;
  let at = 0;
  for (const found of text.matchAll(fence)) {
    if (!found[2].trim()) continue;
    nodes.push(...blocks(text.slice(at, found.index), names), codeBlock(found[1], found[2]));
    at = found.index + found[0].length;
  }
  nodes.push(...blocks(text.slice(at), names));
  return nodes;
}

function codeBlock(language, code) {
  const copy = h("button", { class: "copy", type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(code).catch(() => {});
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  });
  return h("div", { class: "code-block" },
    h("div", { class: "code-head" }, h("span", {}, language ?? "text"), copy),
    h("pre", { tabindex: "0", "aria-label": `Code${language ? ` in ${language}` : ""}` }, h("code", {}, ...highlight(code))));
}

const HEADING = /^(#{1,3}) +(.+)$/;
const SMALL = /^-# +(.+)$/;
const QUOTE = /^> ?(.*)$/;
const BULLET = /^(\s*)(?:[-*]|(\d{1,9})\.) +(.*)$/;

function blocks(text, names) {
  const nodes = [];
  let lines = [];
  const flush = () => {
    const words = lines.join("\n").replace(/^\n+|\n+$/g, "");
    if (words) nodes.push(h("p", {}, ...inline(words, names)));
    lines = [];
  };
  const all = text.split("\n");
  for (let number = 0; number < all.length; number += 1) {
    const line = all[number];
    let found;
    if ((found = HEADING.exec(line))) {
      flush();
      // Below the headings of the page itself.
      nodes.push(h("p", { class: `heading heading-${found[1].length}` }, ...inline(found[2], names)));
    } else if ((found = SMALL.exec(line))) {
      flush();
      nodes.push(h("p", { class: "small" }, ...inline(found[1], names)));
    } else if (QUOTE.test(line)) {
      flush();
      const quoted = [];
      while (number < all.length && (found = QUOTE.exec(all[number]))) {
        quoted.push(found[1]);
        number += 1;
      }
      number -= 1;
      nodes.push(h("blockquote", {}, ...blocks(quoted.join("\n"), names)));
    } else if (BULLET.test(line)) {
      flush();
      const items = [];
      while (number < all.length && (found = BULLET.exec(all[number]))) {
        items.push({ depth: found[1].length, number: found[2], text: found[3] });
        number += 1;
      }
      number -= 1;
      nodes.push(list(items, names));
    } else if (!line.trim()) {
      flush();
    } else {
      lines.push(line);
    }
  }
  flush();
  return nodes;
}

function list(items, names) {
  const top = items[0].depth;
  const root = h(items[0].number ? "ol" : "ul", items[0].number ? { start: items[0].number } : {});
  for (let index = 0; index < items.length; ) {
    const item = h("li", {}, ...inline(items[index].text, names));
    index += 1;
    const below = [];
    while (index < items.length && items[index].depth > top) below.push(items[index++]);
    if (below.length) item.append(list(below, names));
    root.append(item);
  }
  return root;
}

function inline(text, names) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > at) nodes.push(text.slice(at, found.index));
    nodes.push(piece(found[0], found.groups, names));
    at = found.index + found[0].length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

function piece(whole, is, names) {
  const inner = (text) => inline(text, names);
  if (is.escape) return whole[1];
  if (is.code) return h("code", { class: "inline" }, is.codeText.trim() || is.codeText);
  if (is.mention) return mention(whole, names);
  if (is.order) return h("span", { class: "order", title: "Tells the simulated model what kind of answer to give" }, whole.slice(2, -2));
  if (is.emoji) return `:${is.emojiName}:`;
  if (is.link) return link(is.linkTo, ...inner(is.linkText));
  if (is.url) return link(is.bare, is.bare);
  if (is.strong) return h("strong", {}, ...inner(is.strongText));
  if (is.under) return h("u", {}, ...inner(is.underText));
  if (is.strike) return h("s", {}, ...inner(is.strikeText));
  if (is.em) return h("em", {}, ...inner(is.emText));
  if (is.em2) return h("em", {}, ...inner(is.em2Text));
  return spoiler(inner(is.spoilerText));
}

function link(to, ...children) {
  return h("a", { href: to, rel: "noopener noreferrer nofollow", target: "_blank" }, ...children);
}

function mention(whole, names) {
  const id = whole.replace(/\D/g, "");
  const [mark, name] = whole[1] === "#" ? ["#", names.channel(id)] : whole[2] === "&" ? ["@", names.role(id)] : ["@", names.user(id)];
  return h("span", { class: "mention" }, `${mark}${name ?? "unknown"}`);
}

function spoiler(children) {
  const button = h("button", { class: "spoiler", type: "button", "aria-label": "Show the spoiler" }, ...children);
  button.addEventListener("click", () => {
    button.classList.add("shown");
    button.removeAttribute("aria-label");
  });
  return button;
}
