// What pages do better with JavaScript: the cart changes without loading the page again.

for (const form of document.querySelectorAll("form.cart")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const body = new URLSearchParams(new FormData(form));
    body.set("action", button.value);
    const answer = await fetch("/cart", { method: "POST", body, headers: { Accept: "application/json" } });
    const cart = await answer.json();
    if (!answer.ok) { form.submit(); return; }
    document.getElementById("cart-count").textContent = cart.series;
    button.value = cart.has ? "remove" : "add";
    button.textContent = cart.has ? "Remove from cart" : "Add to cart";
  });
}

// A field that is left empty is not sent: the APIs take an empty value for a value.
for (const form of document.querySelectorAll("form.try")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const empty = [...form.querySelectorAll("[data-optional]")].filter((field) => !field.value);
    for (const field of empty) field.disabled = true;
    const values = new URLSearchParams(new FormData(form));
    for (const field of empty) field.disabled = false;
    tryOut(form, values);
  });
}

// The answer of an endpoint is shown below its form; files are offered for download.
const MOST = 20000;
async function tryOut(form, values) {
  const isPost = form.getAttribute("method").toUpperCase() === "POST", path = form.getAttribute("action");
  const address = isPost || !values.size ? path : `${path}?${values}`;
  const place = form.querySelector(".answer") ?? form.appendChild(Object.assign(document.createElement("div"), { className: "answer" }));
  place.setAttribute("role", "status");
  place.textContent = "Waiting for the answer…";
  const started = performance.now();
  try {
    const answer = await fetch(address, isPost ? { method: "POST", body: values } : {}), kind = answer.headers.get("Content-Type") ?? "";
    const said = document.createElement("p"), is = (pattern) => pattern.test(kind);
    said.textContent = `${answer.status} ${answer.statusText}, ${kind || "no type"}, ${Math.round(performance.now() - started)} ms`;
    place.replaceChildren(said);
    if (!isPost) place.append(Object.assign(document.createElement("a"), { href: address, textContent: address }));
    if (!is(/json|text|xml|manifest/)) { answer.body?.cancel(); return; }
    let text = await answer.text();
    if (is(/json/)) try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* as it is */ }
    const shown = document.createElement("pre");
    shown.tabIndex = 0;
    shown.textContent = text.length > MOST ? `${text.slice(0, MOST)}\n… ${(text.length - MOST).toLocaleString("en")} more characters` : text || "(empty)";
    place.append(shown);
  } catch (error) { place.textContent = `No answer: ${error.message}`; }
}

// Commands can be copied, where the browser lets a page do that.
for (const shown of navigator.clipboard ? document.querySelectorAll(".get pre, .text pre") : []) {
  const place = document.createElement("div"), button = document.createElement("button");
  place.className = "copied";
  Object.assign(button, { type: "button", className: "quiet", textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(shown.textContent.trim());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  shown.replaceWith(place);
  place.append(shown, button);
}

// On a narrow screen results come before filters that are not needed.
if (matchMedia("(max-width: 48rem)").matches) {
  for (const filter of document.querySelectorAll(".facets > details")) filter.open = Boolean(filter.querySelector(".chosen"));
}
