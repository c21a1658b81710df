// A modest highlighter: comments, strings, numbers and the key words that most languages share.

const WORDS = new Set(
  ("abstract and as assert async await bool break case catch char class const continue def default del do double " +
    "elif else end enum except export extends false False final finally float fn for foreach from func function go " +
    "global if impl import in int interface is lambda let loop match mod module move mut namespace new nil None not " +
    "null or package pass print private protected pub public raise return self select SELECT FROM WHERE AND OR " +
    "INSERT INTO VALUES UPDATE SET DELETE CREATE TABLE ORDER BY GROUP LIMIT JOIN ON AS static string struct super " +
    "switch then this throw true True try type typeof undefined use using val var void while with yield").split(" "),
);
const PIECE =
  /(?<comment>\/\/[^\n]*|#[^\n]*|--[^\n]*|\/\*[\s\S]*?\*\/)|(?<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`\n]*`)|(?<number>\b\d[\d_.]*\b)|(?<word>[A-Za-z_]\w*)(?<call>\s*\()?|[^\w"'`#/-]+|[\s\S]/g;

/** The code as nodes; only its look differs from the text. */
export function highlight(code) {
  const nodes = [];
  const add = (kind, text) => {
    const span = document.createElement("span");
    span.className = `code-${kind}`;
    span.textContent = text;
    nodes.push(span);
  };
  for (const found of code.matchAll(PIECE)) {
    const { comment, string, number, word, call } = found.groups;
    if (comment) add("comment", comment);
    else if (string) add("string", string);
    else if (number) add("number", number);
    else if (word) {
      if (WORDS.has(word)) add("word", word);
      else if (call) add("call", word);
      else nodes.push(word);
      if (call) nodes.push(call);
    } else nodes.push(found[0]);
  }
  return nodes;
}
