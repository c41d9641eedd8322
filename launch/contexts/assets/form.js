// A context by form: each change is checked where the page comes from, and what comes of it is shown. Texts are set as text everywhere.
const byId = (id) => document.getElementById(id);
const form = byId("form");

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

async function ask(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "X-Eventmill": "1", "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.json()).problem);
  return answer;
}

function entries() {
  const told = {};
  for (const field of form.elements) {
    const text = field.type === "checkbox" ? (field.checked ? "yes" : "") : field.value;
    if (text.trim()) told[field.name] = text;
  }
  return told;
}

function save(name, content) {
  const link = make("a", { href: URL.createObjectURL(new Blob([content])), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

let asked = 0;
async function check() {
  const now = ++asked;
  let told;
  try {
    told = await (await ask("api/check", entries())).json();
  } catch (error) {
    told = { problem: error.message };
  }
  if (now !== asked) return; // something was written meanwhile
  byId("problem").textContent = told.problem ?? "";
  byId("save").disabled = byId("make").disabled = Boolean(told.problem);
  if (!told.problem) {
    byId("toml").textContent = told.toml || "# all as usual";
    byId("shown").textContent = told.shown;
    byId("size").textContent = `${told.size.toLocaleString("en")} bytes of user-data`;
  }
  document.body.dataset.checked = now;
}

byId("save").addEventListener("click", () => save("context.toml", `${byId("toml").textContent}\n`));
byId("make").addEventListener("click", async () => {
  byId("make").disabled = true;
  try {
    save("user-data", await (await ask("api/user-data", entries())).blob());
  } catch (error) {
    byId("problem").textContent = error.message;
  }
  byId("make").disabled = false;
});
form.addEventListener("input", check);
form.addEventListener("submit", (event) => event.preventDefault());

const HOW = { lines: " (one a line)", table: " (one a line, fields apart by spaces)", yaml: " (YAML)" };
const about = await (await fetch("api/fields")).json();
for (const { name, kind, help, usual } of about.fields) {
  const line = ["text", "number"].includes(kind);
  const field = kind === "yes" ? make("input", { type: "checkbox", name }) : line
    ? make("input", { type: "text", name, placeholder: usual }) : make("textarea", { name, rows: 1 });
  form.append(make("label", {}, make("b", {}, name, make("span", { textContent: HOW[kind] ?? "" })), field, make("small", { textContent: help })));
}
byId("make").hidden = !about.makes;
await check();
