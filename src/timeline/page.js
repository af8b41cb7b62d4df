"use strict";
const chart = document.getElementById("chart"), tip = document.getElementById("tip");

// Hints that come at once. Without this program the browser's own ones come after a while.
chart.addEventListener("mouseover", ({ target }) => {
  const of = target.closest("[title], [data-tip]");
  if (!of) { tip.hidden = true; return; }
  if (of.title) { of.dataset.tip = of.title; of.removeAttribute("title"); }
  tip.textContent = of.dataset.tip;
  tip.hidden = false;
});
chart.addEventListener("mousemove", ({ clientX, clientY }) => {
  const right = clientX + 14 + tip.offsetWidth > innerWidth, low = clientY + 18 + tip.offsetHeight > innerHeight;
  tip.style.left = `${Math.max(4, right ? clientX - 10 - tip.offsetWidth : clientX + 14)}px`;
  tip.style.top = `${low ? clientY - 10 - tip.offsetHeight : clientY + 18}px`;
});
chart.addEventListener("mouseleave", () => { tip.hidden = true; });

document.getElementById("zoom").addEventListener("input", ({ target }) => {
  const inner = document.getElementById("inner"), middle = (chart.scrollLeft + chart.clientWidth / 2) / inner.offsetWidth;
  inner.style.setProperty("--zoom", target.value);
  chart.scrollLeft = middle * inner.offsetWidth - chart.clientWidth / 2;
});

document.getElementById("order").addEventListener("change", ({ target }) => {
  for (const row of document.querySelectorAll(".host")) {
    const { at, time } = row.dataset, failed = row.classList.contains("failed");
    row.style.order = { at, time: Math.round(1e8 - 1000 * time), failed: failed ? -1 : at }[target.value];
  }
});

// One role at a time, for eyes that cannot tell the colours apart.
document.getElementById("legend").addEventListener("click", ({ target }) => {
  const button = target.closest("[data-role]");
  if (!button) { return; }
  const pressed = button.getAttribute("aria-pressed") !== "true";
  for (const other of document.querySelectorAll("#legend [data-role]")) { other.setAttribute("aria-pressed", other === button && pressed); }
  chart.classList.toggle("picked", pressed);
  for (const bar of document.querySelectorAll(".lane .role")) { bar.classList.toggle("this", bar.dataset.role === button.dataset.role); }
});
