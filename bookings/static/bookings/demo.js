"use strict";
// After a reply on the card, the acknowledgement and its receipt follow within seconds: the page looks again then.
document.addEventListener("submit", (event) => {
  if (!event.target.matches(".try-phone form")) return;
  for (const wait of [1000, 2500, 5000]) {
    setTimeout(() => document.dispatchEvent(new Event("refresh")), wait);
  }
});
