"""The style sheets of the page. Every rule is tied to the class `backproof`, so that a notebook keeps its own looks."""

from __future__ import annotations

from backproof.proof.report import heat


def _stops(colours: heat.Colours) -> str:
    return ",".join(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours)


_LIGHT = f"""
--bp-paper:#ffffff;--bp-ink:#1c2230;--bp-soft:#5d6677;--bp-line:#e3e7ee;--bp-card:#f7f8fb;
--bp-good:#0f7a45;--bp-good-bg:#e6f5ed;--bp-bad:#b3261e;--bp-bad-bg:#fdecea;--bp-heir:#8a5a00;--bp-heir-bg:#fdf3dd;
--bp-open:#4b5aa7;--bp-open-bg:#eceefb;--bp-ring:#111;--bp-halo:#fff;--bp-show-light:block;--bp-show-dark:none;
--bp-scale:{_stops(heat.LIGHT)};
"""


_DARK = f"""
--bp-paper:#14171d;--bp-ink:#e6e9ef;--bp-soft:#9aa4b5;--bp-line:#2b313c;--bp-card:#1b1f27;
--bp-good:#5fd39a;--bp-good-bg:#123021;--bp-bad:#ff8b80;--bp-bad-bg:#3a1a18;--bp-heir:#f0c060;--bp-heir-bg:#33270d;
--bp-open:#a9b4ff;--bp-open-bg:#222847;--bp-ring:#fff;--bp-halo:#000;--bp-show-light:none;--bp-show-dark:block;
--bp-scale:{_stops(heat.DARK)};
"""


# A notebook's own theme is stronger than the system's: it is the paper that the fragment lies on.
_THEMES = f"""
.backproof{{{_LIGHT}}}
@media(prefers-color-scheme:dark){{.backproof{{{_DARK}}}}}
[data-jp-theme-light="true"] .backproof,.vscode-light .backproof{{{_LIGHT}}}
[data-jp-theme-light="false"] .backproof,.vscode-dark .backproof{{{_DARK}}}
"""


_RULES = """
.backproof{background:var(--bp-paper);color:var(--bp-ink);padding:16px 20px;
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
.backproof *{box-sizing:border-box}
.backproof code,.backproof pre{font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
background:none;color:inherit;padding:0;border:0}
.backproof .bp-head{border-left:5px solid;padding:2px 0 2px 16px;margin:0 0 24px}
.backproof .bp-head.bp-good{border-color:var(--bp-good)}
.backproof .bp-head.bp-bad{border-color:var(--bp-bad)}
.backproof h1{font-size:25px;line-height:1.25;font-weight:650;letter-spacing:-.01em;margin:0 0 8px;color:inherit}
.backproof .bp-chips{margin:0;display:flex;flex-wrap:wrap;gap:6px}
.backproof .bp-chip{font-size:13px;padding:1px 10px;border-radius:99px}
.backproof .bp-chip.bp-good{color:var(--bp-good);background:var(--bp-good-bg)}
.backproof .bp-chip.bp-bad{color:var(--bp-bad);background:var(--bp-bad-bg)}
.backproof .bp-chip.bp-heir{color:var(--bp-heir);background:var(--bp-heir-bg)}
.backproof .bp-chip.bp-open{color:var(--bp-open);background:var(--bp-open-bg)}
.backproof .bp-culprit{background:var(--bp-card);border:1px solid var(--bp-line);border-radius:12px;padding:16px 20px;
margin:0 0 20px}
.backproof h2{font-size:17px;margin:0 0 8px;display:flex;flex-wrap:wrap;align-items:center;gap:8px;color:inherit}
.backproof h2 code{font-size:17px;font-weight:650}
.backproof h2 span{font-size:12.5px;font-weight:500;padding:1px 9px;border-radius:99px}
.backproof .bp-verdict{color:var(--bp-bad);background:var(--bp-bad-bg)}
.backproof .bp-cause,.backproof .bp-sure,.backproof .bp-mends{color:var(--bp-ink);border:1px solid var(--bp-line)}
.backproof .bp-sure,.backproof .bp-mends{color:var(--bp-soft)}
.backproof .bp-why{margin:12px 0 0;font-size:14px;max-width:72ch}
.backproof .bp-why summary{cursor:pointer;font-weight:600}
.backproof .bp-why p{margin:8px 0 0}
.backproof .bp-replay{color:var(--bp-open);background:var(--bp-open-bg)}
.backproof .bp-message{white-space:pre-wrap;overflow-wrap:anywhere;margin:0}
.backproof .bp-maps{display:flex;flex-wrap:wrap;gap:20px 24px;margin:16px 0 0}
.backproof figure{margin:0;min-width:150px}
.backproof figcaption{font-size:13px;margin:0 0 6px}
.backproof figcaption span{color:var(--bp-soft);margin-left:4px}
.backproof .bp-map{position:relative;display:inline-block;line-height:0;outline:1px solid var(--bp-line);max-width:100%}
.backproof .bp-map img{image-rendering:pixelated;max-width:none;margin:0}
.backproof .bp-light{display:var(--bp-show-light)}
.backproof .bp-dark{display:var(--bp-show-dark)}
.backproof .bp-ring{position:absolute;width:16px;height:16px;margin:-8px 0 0 -8px;border-radius:50%;
border:2px solid var(--bp-ring);box-shadow:0 0 0 1.5px var(--bp-halo),inset 0 0 0 1.5px var(--bp-halo)}
.backproof .bp-scale{display:flex;align-items:center;gap:8px;margin-top:6px;font-size:12px;color:var(--bp-soft);
font-variant-numeric:tabular-nums}
.backproof .bp-scale i{flex:1;height:7px;border-radius:4px;min-width:40px;max-width:170px;
background:linear-gradient(90deg,var(--bp-scale))}
.backproof .bp-note{font-size:12.5px;color:var(--bp-soft);margin:10px 0 0}
.backproof .bp-scroll{overflow-x:auto}
.backproof table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums;margin:4px 0 0}
.backproof th,.backproof td{text-align:left;font-weight:400;padding:5px 14px 5px 8px;
border-bottom:1px solid var(--bp-line);vertical-align:baseline;white-space:nowrap;background:none;color:inherit}
.backproof thead th{color:var(--bp-soft);font-size:12.5px}
.backproof .bp-number{text-align:right}
.backproof td.bp-remark{color:var(--bp-soft);white-space:normal;width:50%}
.backproof tr.bp-good td:nth-child(2){color:var(--bp-good)}
.backproof tr.bp-heir td:nth-child(2){color:var(--bp-heir)}
.backproof tr.bp-open td:nth-child(2){color:var(--bp-open)}
.backproof tr.bp-bad{background:var(--bp-bad-bg)}
.backproof tr.bp-bad td:nth-child(2),.backproof tr.bp-bad th{color:var(--bp-bad);font-weight:650}
.backproof ul{margin:18px 0 0;padding-left:18px;font-size:13px;color:var(--bp-soft)}
.backproof li b{font-weight:600}
"""


FRAGMENT = _THEMES + _RULES


PAGE = """
:root{color-scheme:light dark}
body{margin:0;background:#fff}
@media(prefers-color-scheme:dark){body{background:#14171d}}
body>.backproof{max-width:1080px;margin:0 auto;padding:32px 24px 64px;border:0}
"""
