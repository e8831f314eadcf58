// What a page cannot do without a script: copy a digest, and the keyboard shortcuts. Every page works without it.
"use strict";

(() => {
  const copied = async (button) => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl+C";
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("code"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  };

  const reveal = (root) => {
    root.querySelectorAll("button.copy[hidden]").forEach((button) => { button.hidden = false; });
  };

  document.addEventListener("click", (event) => {
    const copy = event.target.closest("button.copy");
    if (copy) copied(copy);
  });

  const typing = (target) => target.closest("input, textarea, select, [contenteditable]");
  let pending = "";

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const dialog = document.getElementById("shortcuts");
    if (!dialog) return;
    if (event.key === "?") {
      dialog.showModal();
      event.preventDefault();
    } else if (pending === "g") {
      const link = dialog.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
      pending = "";
      if (link) link.click();
    } else {
      pending = event.key;
      setTimeout(() => { pending = ""; }, 1200);
    }
  });

  document.addEventListener("DOMContentLoaded", () => {
    reveal(document);
    const summary = document.querySelector(".error-summary");
    if (summary) summary.focus();
  });
  document.addEventListener("htmx:afterSwap", (event) => reveal(event.target.parentElement || document));
})();
