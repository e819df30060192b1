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
  form.addEventListener("submit", () => {
    const empty = [...form.querySelectorAll("[data-optional]")].filter((field) => !field.value);
    for (const field of empty) field.disabled = true;
    setTimeout(() => { for (const field of empty) field.disabled = false; });
  });
}

// On a narrow screen results come before filters that are not needed.
if (matchMedia("(max-width: 48rem)").matches) {
  for (const filter of document.querySelectorAll(".facets > details")) filter.open = Boolean(filter.querySelector(".chosen"));
}
