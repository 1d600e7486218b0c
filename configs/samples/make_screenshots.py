"""Make configs/samples/screenshots: screenshots of invented applications.

    python configs/samples/make_screenshots.py [--out FOLDER] [--browser chromium]

A headless Chromium renders each HTML page; the image keeps at most 128 colours. Names, shops and
figures are invented. The pixels depend on the browser's version and fonts, so no test compares
them. The images are input for the surface classifier (`actors.surfaces.statistics`) and for OCR.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parent / "screenshots"

_STYLE = """
*{box-sizing:border-box;margin:0;font-family:DejaVu Sans,sans-serif}
body{background:var(--b,#fff);color:var(--f,#222);font-size:14px;height:100vh;overflow:hidden}
.bar{background:var(--bar,#2b579a);color:#fff;padding:10px 16px;display:flex;gap:18px}
.row{display:flex;height:100%} .side{width:220px;background:var(--s,#f1f3f4);padding:14px}
.side p{padding:8px} .main{flex:1;padding:18px} button{padding:7px 14px;border:1px solid #888}
.card{border:1px solid #ccc;border-radius:8px;padding:14px;margin:8px;flex:1}
table{border-collapse:collapse;width:100%} td,th{border:1px solid #c8c8c8;padding:5px 8px}
.mono,.mono *{font-family:DejaVu Sans Mono,monospace} input{padding:7px;border:1px solid #999}
"""


def _mail() -> str:
    people = ("Ines Roth", "Harbour Office", "T. Okafor", "Library", "Mara Lind", "Night Desk")
    rows = "".join(
        f"<tr><td>{name}</td><td>Re: delivery {n * 37 + 112}</td><td>1{n}:4{n}</td></tr>"
        for n, name in enumerate(people * 3)
    )
    return (
        "<div class=bar><b>Post</b><span>New</span><span>Reply</span><span>Archive</span></div>"
        "<div class=row><div class=side><p><b>Inbox 18</b><p>Sent<p>Drafts<p>Bin</div>"
        f"<div class=main><table>{rows}</table></div></div>"
    )


def _editor() -> str:
    code = "\n".join(
        f"<span style='color:#6a737d'>{n:3}</span>  <span style='color:#c586c0'>def</span> "
        f"<span style='color:#dcdcaa'>step_{n}</span>(rows, limit={n * 4}):"
        if n % 5 == 0
        else f"<span style='color:#6a737d'>{n:3}</span>      total += rows[{n}].weight * "
        f"<span style='color:#b5cea8'>0.{n}</span>"
        for n in range(1, 40)
    )
    return (
        "<style>:root{--b:#1e1e1e;--f:#d4d4d4;--s:#252526;--bar:#333}</style>"
        "<div class=bar><span>File</span><span>Edit</span><span>View</span><span>Run</span></div>"
        "<div class=row><div class=side><p>src<p>&nbsp; flow.py<p>&nbsp; stage.py<p>tests</div>"
        f"<pre class='main mono'>{code}</pre></div>"
    )


def _dashboard() -> str:
    cards = "".join(
        f"<div class=card><small>{name}</small><h2>{value}</h2>"
        f"<svg width=220 height=90>{''.join(_bar(n, value) for n in range(14))}</svg></div>"
        for name, value in (("Orders", 1284), ("Returns", 37), ("Open", 412), ("Late", 9))
    )
    return (
        "<style>:root{--b:#f6f8fb;--bar:#0f766e}</style><div class=bar><b>Depot</b>"
        f"<span>Today</span><span>Week</span></div><div style='display:flex'>{cards}</div>"
        "<div style='padding:18px'><table>"
        + "".join(
            f"<tr><td>Lane {n}</td><td>{n * 91 % 57} pallets</td>"
            "<td><button>Open</button></td></tr>"
            for n in range(9)
        )
        + "</table></div>"
    )


def _bar(n: int, value: int) -> str:
    height = 15 + (value * (n + 3) * 7) % 70
    return f"<rect x={n * 15} y={90 - height} width=11 height={height} fill='#0f766e'/>"


def _phone(dark: bool) -> str:
    colours = "--b:#121212;--f:#eee" if dark else "--b:#fafafa;--f:#222"
    rows = "".join(
        f"<div style='display:flex;justify-content:space-between;padding:17px;border-bottom:1px "
        f"solid #8884'><span>{name}</span><span style='background:{shade};width:44px;height:24px;"
        "border-radius:12px'></span></div>"
        for name, shade in (
            *(("Aeroplane mode", "#8886"), ("Night light", "#3b82f6"), ("Location", "#3b82f6")),
            *(("Sounds", "#8886"), ("Backup", "#3b82f6"), ("Battery saver", "#8886")),
            *(("Updates", "#3b82f6"), ("Developer options", "#8886")),
        )
    )
    return f"<style>:root{{{colours}}}</style><h2 style='padding:24px 16px'>Settings</h2>{rows}"


def _sheet() -> str:
    head = "".join(f"<th style='background:#eee'>{c}</th>" for c in " ABCDEFGHIJ")
    rows = "".join(
        f"<tr><th style='background:#eee'>{n}</th>"
        + "".join(f"<td>{(n * c * 739) % 9973 / 100:.2f}</td>" for c in range(1, 11))
        + "</tr>"
        for n in range(1, 26)
    )
    return (
        "<style>:root{--bar:#107c41}</style><div class=bar><b>Book 3</b><span>Home</span>"
        f"<span>Insert</span><span>Data</span></div><table><tr>{head}</tr>{rows}</table>"
    )


def _login() -> str:
    return (
        "<style>body{background:linear-gradient(135deg,#667eea,#d57eeb)}</style>"
        "<div style='width:340px;margin:120px auto;background:#fff;padding:34px;"
        "border-radius:14px'>"
        "<h2>Sign in</h2><br>Name<br><input value='ines'><br><br>Password<br>"
        "<input value='********'><br><br><button style='background:#667eea;color:#fff'>Continue"
        "</button><p style='padding-top:16px;color:#667eea'>Forgotten?</p></div>"
    )


def _shop() -> str:
    tiles = "".join(
        "<div style='width:23%;margin:1%'><div style='height:150px;background:radial-gradient("
        f"circle at 30% 30%,hsl({n * 47},70%,75%),hsl({n * 47 + 40},60%,35%))'></div>"
        f"<b>Vase no. {n}</b><br>{n * 13 % 50 + 9}.00 <button>Add</button></div>"
        for n in range(1, 9)
    )
    return (
        "<style>:root{--bar:#7c2d12}</style><div class=bar><b>Claywork</b><span>Bowls</span>"
        "<span>Vases</span><input value='search'><span>Basket (2)</span></div>"
        f"<div style='display:flex;flex-wrap:wrap;padding:10px'>{tiles}</div>"
    )


def _chat() -> str:
    lines = "".join(
        f"<div style='margin:9px;padding:11px;border-radius:14px;width:70%;background:"
        f"{'#005c4b' if n % 2 else '#202c33'};margin-left:{'27%' if n % 2 else '9px'}'>{text}</div>"
        for n, text in enumerate(
            (
                *("Are the boxes there?", "Two of three, 14:20"),
                *("And the third?", "Stuck at the gate", "Call the depot then"),
                *("Done, they open at six", "Good. Till later", "See you"),
            )
        )
    )
    return (
        "<style>:root{--b:#0b141a;--f:#e9edef;--bar:#202c33}</style><div class=bar>Mara</div>"
        f"{lines}"
    )


SHOTS = {
    "mail": (_mail(), 1280, 800),
    "editor_dark": (_editor(), 1366, 768),
    "dashboard": (_dashboard(), 1440, 900),
    "phone_settings": (_phone(False), 500, 1040),
    "phone_dark": (_phone(True), 500, 1040),
    "spreadsheet": (_sheet(), 1280, 720),
    "sign_in": (_login(), 1280, 800),
    "shop": (_shop(), 1280, 800),
    "chat_dark": (_chat(), 500, 900),
}


def make(folder: Path, browser: str) -> None:
    """Write every screenshot into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for name, (body, width, height) in SHOTS.items():
            page, shot = Path(work) / f"{name}.html", Path(work) / f"{name}.png"
            page.write_text(f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>{body}")
            argv = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
            argv += [f"--user-data-dir={work}/profile", f"--screenshot={shot}"]
            argv += [f"--window-size={width},{height}", page.as_uri()]
            subprocess.run(argv, check=True, capture_output=True, timeout=60)
            with Image.open(shot) as image:
                few = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
                few.save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--browser", default="chromium")
    given = parser.parse_args()
    make(given.out, given.browser)
