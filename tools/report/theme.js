// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

// Light and dark: as the system says, until the button says otherwise.
const theme = (() => {
  // `draw` is called now and after every change: colours of canvases do not
  // change by themselves.
  function follow(draw) {
    const button = document.getElementById('theme');
    const preferred = matchMedia('(prefers-color-scheme: dark)');
    let chosen = false;
    const set = (dark) => {
      document.documentElement.dataset.theme = dark ? 'dark' : 'light';
      button.textContent = dark ? 'Light' : 'Dark';
      draw();
    };
    set(preferred.matches);
    preferred.addEventListener('change', () => {
      if (!chosen) set(preferred.matches);
    });
    button.addEventListener('click', () => {
      chosen = true;
      set(document.documentElement.dataset.theme !== 'dark');
    });
  }

  return {follow};
})();
