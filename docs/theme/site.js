// Search over the index that the page brings along, and a menu that starts closed on small screens.
// The site is whole without this file.
(() => {
  const menu = document.getElementById("menu");
  if (window.matchMedia("(max-width: 900px)").matches) menu.removeAttribute("open");
  document.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });

  const query = document.getElementById("query");
  const results = document.getElementById("results");
  const root = document.body.dataset.root;
  const parts = (window.searchIndex?.docs ?? []).map((part) => ({
    ...part, low: `${part.title} ${part.text}`.toLowerCase(), head: part.title.toLowerCase(),
  }));

  // Every word must occur; words in a heading, and at the beginning of a page, count for more.
  const score = (part, words) => words.reduce((sum, word) => {
    const place = part.low.indexOf(word);
    if (sum < 0 || place < 0) return -1;
    return sum + (part.head.includes(word) ? 10 : 1) + (part.location.includes("#") ? 0 : 0.5);
  }, 0);

  const around = (part, word) => {
    const place = Math.max(0, part.text.toLowerCase().indexOf(word) - 40);
    return (place ? "… " : "") + part.text.slice(place, place + 120) + " …";
  };

  const show = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter((word) => word.length > 1);
    const found = parts.map((part) => [score(part, words), part])
      .filter(([value]) => words.length && value > 0)
      .sort((a, b) => b[0] - a[0]).slice(0, 12);
    results.replaceChildren(...found.map(([, part]) => {
      const item = document.createElement("li");
      const link = item.appendChild(document.createElement("a"));
      link.href = `${root}/${part.location}`;
      link.append(Object.assign(document.createElement("b"), { textContent: part.title }));
      link.append(Object.assign(document.createElement("span"), { textContent: around(part, words[0]) }));
      return item;
    }));
    if (words.length && !found.length) results.append(Object.assign(document.createElement("li"), { textContent: "Nothing found" }));
    results.hidden = !words.length;
  };
  query.addEventListener("input", show);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== query) { event.preventDefault(); query.focus(); }
    if (event.key === "Escape") { query.value = ""; show(); }
    if (event.key === "Enter" && document.activeElement === query) results.querySelector("a")?.click();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".finder")) results.hidden = true;
  });
})();
