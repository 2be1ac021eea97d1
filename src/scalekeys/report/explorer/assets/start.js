document.querySelectorAll("[data-explorer]").forEach((root) => {
  const data = root.parentElement.querySelector("script[data-explorer-data]");
  mount(root, JSON.parse(data.textContent), { permalinks: true });
  root.setAttribute("data-ready", "true");
});
