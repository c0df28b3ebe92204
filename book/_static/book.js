// A formula too wide for the screen scrolls by itself: let the keyboard reach those, and only those.
const reachWideFormulas = () => {
  for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
    formula.tabIndex = formula.scrollWidth > formula.clientWidth ? 0 : -1;
  }
};

window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachWideFormulas();
  window.addEventListener("resize", reachWideFormulas);
});
