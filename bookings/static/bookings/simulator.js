"use strict";
// Sends replies and switches without leaving the phone.
(() => {
  const said = document.getElementById("said");

  function say(words) {
    said.textContent = words;
    said.hidden = !words;
  }

  async function post(form, submitter) {
    try {
      const response = await fetch(form.action, {
        method: "POST",
        body: new FormData(form, submitter),
        headers: { "X-Requested-With": "fetch" },
      });
      if (response.redirected) return location.reload(); // logged out
      if (!response.ok) return say(`The server answered with ${response.status}.`);
      say(await response.text());
      if (form.matches(".write")) form.reset();
    } catch {
      say("The server is away. Try again.");
    }
    document.dispatchEvent(new Event("refresh"));
  }

  for (const form of document.querySelectorAll("form[data-quiet]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      post(form, event.submitter);
    });
  }
  for (const form of document.querySelectorAll("form[data-on-change]")) {
    form.addEventListener("change", () => form.requestSubmit());
  }
  for (const button of document.querySelectorAll("[data-without-script]")) button.hidden = true;
})();
