"use strict";
// Shows a whole number in the place of its masked one. Without this script it opens on a page of its own.
document.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (event.target.id !== "reveal" || !button) return;
  event.preventDefault();
  button.disabled = true;
  try {
    const response = await fetch(button.formAction, {
      method: "POST",
      body: new FormData(event.target),
      headers: { "X-Requested-With": "fetch" },
    });
    if (response.redirected) return location.reload(); // logged out
    if (!response.ok) throw new Error(response.statusText);
    button.previousElementSibling.textContent = await response.text();
    button.remove();
  } catch {
    button.disabled = false;
    button.textContent = "not shown, try again";
  }
});
