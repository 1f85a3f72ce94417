// Light, dark, or as the system says. Runs before the first paint, so that nothing flashes.
(() => {
  const KEY = "quire.theme";
  const root = document.documentElement;
  const read = () => { try { return localStorage.getItem(KEY) || "system"; } catch { return "system"; } };
  const next = { system: "light", light: "dark", dark: "system" };
  const names = { system: "as the system", light: "light", dark: "dark" };

  function show(theme) {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-switches-theme]")) {
      button.title = `Colours: ${names[theme]}`;
      button.setAttribute("aria-label", `Colours: ${names[theme]}. Switch to ${names[next[theme]]}`);
    }
  }

  show(read());
  document.addEventListener("DOMContentLoaded", () => {
    show(read());
    for (const button of document.querySelectorAll("[data-switches-theme]")) {
      button.addEventListener("click", () => {
        const theme = next[read()];
        try { localStorage.setItem(KEY, theme); } catch { /* private mode: for this page only */ }
        show(theme);
      });
    }
  });
})();
