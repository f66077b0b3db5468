"use strict";
// What the theme opens for a mouse alone opens for the keyboard too: its menus, its sidebar, its filters.
(() => {
  const NAMES = { dock_to_right: "Menu", close: "Close the menu" };

  for (const part of document.querySelectorAll("[x-on\\:click]")) {
    const words = part.textContent.trim();
    if (!words || part.matches("a[href], button, input, summary")) continue;
    part.tabIndex = 0;
    part.setAttribute("role", "button");
    if (NAMES[words]) part.setAttribute("aria-label", NAMES[words]);
    part.addEventListener("keydown", (event) => {
      if (event.target !== part || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      part.click();
    });
  }
})();

// Whoever leaves the theme to their system sees it change with the system.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (system) => {
  const chosen = localStorage.getItem("adminTheme") ?? '"auto"';
  if (chosen === '"auto"') document.documentElement.classList.toggle("dark", system.matches);
});

// The theme hides the page until its scripts run, so the browser could not focus the field that asks for it.
document.querySelector("[autofocus]")?.focus();
