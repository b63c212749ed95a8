/** Whether somebody looks at this page: it is to be seen, and has the focus. */

/** Calls `attend` now, and at each change. */
export function whileLookedAt(attend: (isLookedAt: boolean) => void): void {
  const tell = (): void => attend(document.visibilityState === 'visible' && document.hasFocus());
  for (const event of ['focus', 'blur']) window.addEventListener(event, tell);
  document.addEventListener('visibilitychange', tell);
  tell();
}
