"use strict";
// Shows the SMS as it would be sent, while the form is filled in.
(() => {
  const form = document.querySelector("form[data-preview]");
  const preview = document.getElementById("preview");
  let timer, request;

  async function show() {
    request?.abort();
    request = new AbortController();
    try {
      const response = await fetch(form.dataset.preview, {
        method: "POST",
        body: new FormData(form),
        headers: { "X-Requested-With": "fetch" },
        signal: request.signal,
      });
      if (response.redirected) return location.reload(); // logged out
      if (response.ok) preview.innerHTML = await response.text();
    } catch {
      // Typed on, or the server is away: the next key asks again.
    }
  }

  form.querySelector("[data-without-script]").hidden = true;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 200);
  });
  show();
})();
