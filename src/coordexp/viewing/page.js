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
const filter = document.getElementById("class-filter");
if (filter) {
  const samples = [...document.querySelectorAll(".sample")];
  const count = document.querySelector(".filter output");
  const held = samples.map((sample) => new Set(JSON.parse(sample.dataset.classes)));
  const apply = () => {
    let shown = 0;
    samples.forEach((sample, k) => {
      sample.hidden = filter.value !== "" && !held[k].has(filter.value);
      shown += sample.hidden ? 0 : 1;
    });
    count.textContent = `${shown} of ${samples.length}`;
  };
  filter.closest(".filter").hidden = false;
  filter.addEventListener("change", apply);
  apply();
}
