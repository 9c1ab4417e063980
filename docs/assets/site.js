// What the theme leaves to do for people who use the keyboard or hear the page: names for the parts that its script makes.
const named = [
  ["nav.md-code__nav", "Code"],
  [".md-typeset__scrollwrap", "Table"],
];

function nameParts() {
  for (const [parts, word] of named) {
    document.querySelectorAll(parts).forEach((part, index) => {
      const label = `${word} ${index + 1}`;
      if (part.getAttribute("aria-label") !== label) part.setAttribute("aria-label", label);
      if (word === "Table" && part.scrollWidth > part.clientWidth) {
        part.setAttribute("role", "region");
        part.tabIndex = 0; // arrows scroll it
      }
    });
  }
}

new MutationObserver(nameParts).observe(document.body, { childList: true, subtree: true });
window.addEventListener("load", nameParts);
window.addEventListener("resize", nameParts);
