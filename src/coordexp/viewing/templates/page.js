"use strict";
// Comfort only; the page reads the same without it.
for (const button of document.querySelectorAll(".command button")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
const zoom = document.getElementById("zoom");
for (const picture of document.querySelectorAll(".row img")) {
  picture.tabIndex = 0;
  picture.setAttribute("role", "button");
  const open = () => {
    const shown = zoom.querySelector("img");
    shown.src = picture.src;
    shown.alt = picture.alt;
    zoom.querySelector("p").textContent = picture.nextElementSibling.textContent;
    zoom.showModal();
  };
  picture.addEventListener("click", open);
  picture.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
}
zoom.addEventListener("click", () => zoom.close());
const byClass = document.getElementById("class-filter");
if (byClass) {
  const byMistake = document.getElementById("mistake-filter");
  const samples = [...document.querySelectorAll(".sample")];
  const count = document.querySelector(".filter output");
  const held = samples.map((sample) => ({
    classes: new Set(JSON.parse(sample.dataset.classes)),
    mistakes: JSON.parse(sample.dataset.mistakes ?? "[]"),
  }));
  const fits = ({ classes, mistakes }, name, kind) => {
    if (kind === "") return name === "" || classes.has(name);
    if (kind === "(no mistake)") return !mistakes.length && (name === "" || classes.has(name));
    return mistakes.some(([what, of]) => what === kind && (name === "" || name === of));
  };
  const apply = () => {
    let shown = 0;
    samples.forEach((sample, k) => {
      sample.hidden = !fits(held[k], byClass.value, byMistake?.value ?? "");
      shown += sample.hidden ? 0 : 1;
    });
    count.textContent = `${shown} of ${samples.length}`;
  };
  byClass.closest(".filter").hidden = false;
  for (const choice of document.querySelectorAll("[data-switch]")) {
    choice.addEventListener("change", () => {
      const gallery = choice.closest(".filter").nextElementSibling;
      gallery.dataset[choice.dataset.switch] = choice.value;
    });
  }
  byClass.addEventListener("change", apply);
  byMistake?.addEventListener("change", apply);
  apply();
}
// Pointing at an object in the list, or tapping it, shows which box it is, and the other way round.
for (const gallery of document.querySelectorAll(".samples")) {
  const point = (event) => {
    const target = event.target.closest("[data-k]");
    for (const hot of gallery.querySelectorAll(".hot")) hot.classList.remove("hot");
    for (const stage of gallery.querySelectorAll(".pointing")) stage.classList.remove("pointing");
    if (!target) return;
    const sample = target.closest(".sample");
    for (const part of sample.querySelectorAll(`[data-k="${target.dataset.k}"]`)) part.classList.add("hot");
    sample.querySelector(".stage").classList.add("pointing");
  };
  gallery.addEventListener("mouseover", point);
  gallery.addEventListener("click", point);
}
