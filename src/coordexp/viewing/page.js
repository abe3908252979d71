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
