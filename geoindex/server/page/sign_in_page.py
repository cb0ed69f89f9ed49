"""The page that asks for the token: plain HTML, no script."""

STYLE = """
:root { color-scheme: light dark; --page: #fff; --card: #f4f6f8; --ink: #22272b; --line: #c3cbd1; --own: #0062a3;
  --wrong: #a33a00; }
@media (prefers-color-scheme: dark) { :root { --page: #14181b; --card: #1e2428; --ink: #e6eaed; --line: #4a565e;
  --own: #7cc0f0; --wrong: #ff9a52; } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
form { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.8rem;
  width: min(24rem, calc(100vw - 2rem)); box-sizing: border-box; display: grid; gap: .8rem; }
h1 { margin: 0; font-size: 1.4rem; } p { margin: 0; } .wrong { color: var(--wrong); font-weight: 600; }
input, button { font: inherit; padding: .6rem .8rem; border-radius: 8px; border: 1px solid var(--line); }
input { background: var(--page); color: var(--ink); }
button { background: var(--own); color: var(--page); border-color: var(--own); font-weight: 600; cursor: pointer; }
"""

WRONG = '<p class="wrong" role="alert">That is not the token of this server.</p>'


def render_sign_in(wrong: bool) -> str:
    """Return the page; `wrong` says that a token was tried."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>geoindex</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<style>{STYLE}</style></head><body><form method="post"><h1>geoindex</h1>'
        f"<p>This server asks for its token.</p>{WRONG if wrong else ''}"
        '<label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
        "<button>Go on</button></form></body></html>"
    )
