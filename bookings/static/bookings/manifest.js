"use strict";
// Hands a manifest in, and asks for its next slice until the last one is done. Without it, buttons do the same.
document.addEventListener("DOMContentLoaded", () => {
  const AGAIN_AFTER = 3000;
  const slices = document.querySelector("form[data-slices]");
  const handIn = document.querySelector("form.hand-in");
  if (slices) goOn(slices);
  if (handIn) watch(handIn);

  async function goOn(form) {
    const button = form.querySelector("button");
    const words = document.querySelector("[data-words]");
    const progress = document.querySelector("[data-progress]");
    button.hidden = true;
    for (;;) {
      try {
        const response = await fetch(form.action, {
          method: "POST",
          body: new FormData(form),
          headers: { "X-Requested-With": "fetch" },
        });
        if (response.redirected || response.status === 403) return location.reload(); // logged out
        if (!response.ok) throw new Error(response.statusText);
        const told = await response.json();
        progress.value = told.done;
        words.textContent = `${told.done} of ${told.rows} rows done.`;
        if (!told.goes_on) return location.reload();
      } catch {
        button.hidden = false;
        words.textContent = "The server is not responding. Retrying; finished rows are saved.";
        await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER));
      }
    }
  }

  function watch(form) {
    const input = form.querySelector("input[type=file]");
    const area = form.querySelector(".drop");
    const fault = form.querySelector("[data-fault]");
    for (const name of ["dragover", "dragleave", "drop"]) {
      area.addEventListener(name, (event) => {
        event.preventDefault();
        area.classList.toggle("is-over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) {
          input.files = event.dataTransfer.files;
          check();
        }
      });
    }
    // Before it reaches the theme, which looks for a field of its own beside each file.
    area.addEventListener("change", (event) => {
      event.stopPropagation();
      check();
    }, true);
    form.addEventListener("submit", (event) => {
      if (!check()) return event.preventDefault();
      const button = form.querySelector("button");
      button.textContent = "Checking …";
      button.disabled = true;
    });
    // Whoever comes back from the next page finds the button as it was.
    addEventListener("pageshow", () => {
      const button = form.querySelector("button");
      button.textContent = "Preview";
      button.disabled = false;
    });

    function check() {
      const [file] = input.files;
      const isTooLarge = file && file.size > Number(form.dataset.largest);
      fault.hidden = !isTooLarge;
      fault.textContent = isTooLarge ? "The file is larger than 5 MB: split it." : "";
      return !isTooLarge;
    }
  }
});
