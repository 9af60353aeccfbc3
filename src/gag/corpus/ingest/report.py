"""What cleaning cut, side by side with what it left: one HTML file that needs no network and runs no script."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gag.atomic import disk_errors, new_file
from gag.corpus.cleaning.clean import Cleaned, clean
from gag.corpus.ingest.store import StoredDocument
from gag.corpus.parsing.blocks import Parsed

if TYPE_CHECKING:
    from gag.corpus.ingest.ingest import Ingest

MOST = 300
"""Documents in the report; those with most cut first."""

LONGEST = 400_000
"""Characters of a document that are shown."""

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1500px;padding:1rem}
summary{cursor:pointer;padding:.4rem 0;font-weight:600}
summary small{font-weight:400;opacity:.75}
details{border-top:1px solid #8886}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}
.pair>div{overflow-wrap:anywhere;white-space:pre-wrap;min-width:0}
.pair h3{font-size:.95rem;margin:.3rem 0}
del{display:block;text-decoration:none;background:#d3333322;border-left:3px solid #d33;padding:0 .5rem;margin:.2rem 0}
del::before{content:attr(data-reason);display:block;font-size:.75rem;color:#d33;font-weight:600}
p{margin:.2rem 0 .6rem}
table{border-collapse:collapse}td,th{padding:.1rem .8rem .1rem 0;text-align:left}td.n{text-align:right}
@media(max-width:800px){.pair{grid-template-columns:1fr}}
"""


def write_report(work: Ingest) -> None:
    """Write the domain's ingest.html. Raises RunError for the disk's errors."""
    path = work.files.report
    with (
        disk_errors(f"{path} could not be written"),
        new_file(path) as partial,
        partial.open("w", encoding="utf-8") as out,
    ):
        out.writelines(_page(work))


def _page(work: Ingest) -> Iterator[str]:
    title = f"{html.escape(work.domain)}: what ingest cut"
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>\n"
    )
    with work.store() as store:
        sizes = [(sum(one.cleaned.get("cut", {}).values()), one.id) for one in store.documents()]
        sizes.sort(key=lambda item: -item[0])
        shown = [name for _, name in sizes[:MOST]]
        yield f"<p>{len(sizes)} documents, {len(shown)} shown, those with most cut first."
        yield " Left what was read, cuts marked with their reason; right what stayed.</p>\n"
        totals: dict[str, int] = {}
        for one in store.documents():
            for reason, count in one.cleaned.get("cut", {}).items():
                totals[reason] = totals.get(reason, 0) + count
        rows = "".join(
            f'<tr><td>{html.escape(r)}<td class="n">{n:,}' for r, n in sorted(totals.items(), key=lambda i: -i[1])
        )
        yield f"<table><tr><th>cut<th>characters{rows}</table>\n"
        for name in shown:
            stored = store.document(name)
            parsed = Parsed.from_json(store.parsed(name))
            yield from _document(stored, parsed, clean(parsed, work.config))
    yield "</body></html>\n"


def _document(stored: StoredDocument, parsed: Parsed, cleaned: Cleaned) -> Iterator[str]:
    cut = sum(len(one.text) for one in cleaned.cuts)
    about = [f"{len(stored.text):,} characters stayed, {cut:,} cut", f"{stored.row['meta'].get('parser')}"]
    if parsed.pages:
        about.append(f"{parsed.pages} pages")
    if parsed.quality:
        about.append(", ".join(parsed.quality))
    if stored.copy_of:
        about.append(f"a copy of {stored.copy_of} ({stored.likeness:.0%}), left out")
    yield f"<details><summary>{html.escape(stored.id)} <small>{html.escape(' · '.join(about))}</small></summary>\n"
    yield '<div class="pair"><div><h3>Read</h3>'
    yield from _left(parsed, cleaned)
    yield f"</div><div><h3>Stayed</h3>{_shown(cleaned.text)}</div></div></details>\n"


def _left(parsed: Parsed, cleaned: Cleaned) -> Iterator[str]:
    """The parsed blocks; one that was cut whole is marked, pieces cut from inside one follow it."""
    by_block: dict[int, list[tuple[str, str]]] = {}
    for one in cleaned.cuts:
        by_block.setdefault(one.block, []).append((one.reason, one.text))
    length = 0
    for number, block in enumerate(parsed.blocks):
        length += len(block.text)
        if length > LONGEST:
            yield "<p>…</p>"
            return
        cuts = by_block.get(number, [])
        whole = any(len(text) >= 0.9 * len(block.text.strip()) for _, text in cuts)
        if not whole and block.text.strip():
            mark = "#" * block.level + " " if block.kind == "heading" else ""
            yield f"<p>{html.escape(mark + block.text)}</p>"
        for reason, text in cuts:
            yield f'<del data-reason="{html.escape(reason, quote=True)}">{html.escape(text)}</del>'


def _shown(text: str) -> str:
    return html.escape(text[:LONGEST]) + ("…" if len(text) > LONGEST else "")
