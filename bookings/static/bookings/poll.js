"use strict";
// Keeps the marked parts of a page as the server has them now, touching only what has changed.
(() => {
  const EVERY = Number(document.currentScript.dataset.every || 1500); // milliseconds
  let timer;

  async function refresh() {
    clearTimeout(timer);
    try {
      if (!document.hidden) await replaceParts();
    } catch {
      // The server is away for a moment: the page stays as it is.
    }
    clearTimeout(timer);
    timer = setTimeout(refresh, EVERY);
  }

  async function replaceParts() {
    const response = await fetch(location.href, { headers: { "X-Requested-With": "fetch" } });
    if (response.redirected) return location.reload(); // logged out
    if (!response.ok) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = await response.text();
    for (const part of fresh.content.querySelectorAll("[data-part]")) {
      const shown = document.querySelector(`[data-part="${part.dataset.part}"]`);
      if (shown && shown.innerHTML !== part.innerHTML) replace(shown, part.innerHTML);
    }
  }

  // Whoever stands on a link or a button with the keyboard stays on it.
  function replace(shown, html) {
    const stops = () => [...shown.querySelectorAll("a, button")];
    const place = stops().indexOf(document.activeElement);
    shown.innerHTML = html;
    if (place >= 0) stops()[place]?.focus({ preventScroll: true });
  }

  document.addEventListener("refresh", refresh);
  document.addEventListener("visibilitychange", refresh);
  timer = setTimeout(refresh, EVERY);
})();
