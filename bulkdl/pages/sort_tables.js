"use strict";
for (const head of document.querySelectorAll("th button")) {
  head.addEventListener("click", () => {
    const cell = head.parentElement, table = cell.closest("table"), body = table.tBodies[0];
    const index = [...cell.parentElement.children].indexOf(cell);
    const order = cell.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    for (const other of cell.parentElement.children) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", order);
    const value = (row) => row.cells[index].dataset.value ?? row.cells[index].textContent;
    const numeric = cell.classList.contains("number");
    const compare = (a, b) => (numeric ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b)));
    const rows = [...body.rows].sort((a, b) => (order === "ascending" ? compare(a, b) : compare(b, a)));
    body.append(...rows);
  });
}
