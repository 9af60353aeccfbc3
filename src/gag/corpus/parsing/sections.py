"""Sections by their heading: which are left out of a corpus, and which names are headings wherever they stand alone."""

from __future__ import annotations

import re
import unicodedata

CUT: dict[str, tuple[str, ...]] = {
    "references": (
        r"references?(?: and (?:further )?notes?| cited| list)?",
        r"notes and references",
        r"bibliograph(?:y|ie)",
        r"bibliograf[ií]a",
        r"r[ée]f[ée]rences(?: bibliographiques)?",
        r"referencias(?: bibliogr[áa]ficas)?",
        r"(?:literature|works?|sources) cited",
        r"cited (?:literature|works|references)",
        r"literatur(?:verzeichnis|angaben)?",
        r"quellen(?:verzeichnis)?",
        r"list of references",
        r"参考文献",
        r"参考资料",
        r"список литературы",
        r"литература",
    ),
    "acknowledgements": (
        r"acknowled?ge?ments?(?: and (?:funding|disclosures?))?",
        r"acknowledg(?:e)?ment of (?:funding|support)",
        r"(?:financial|grant) support",
        r"(?:sources? of )?funding(?: (?:sources?|information|statement|acknowledge?ments?))?",
        r"(?:financial )?support statement",
        r"danksagung",
        r"remerciements",
        r"agradecimientos",
        r"致谢",
        r"謝辞",
    ),
    "authors": (
        r"authors? information",
        r"(?:about|on) the authors?",
        r"author(?:s|['’]s|s['’])? (?:contributions?|details|affiliations?|notes?|biograph(?:y|ies)|disclosures?)"
        r"(?: statement)?",
        r"contributions? (?:of|from) (?:the )?authors?",
        r"contributors?",
        r"credit (?:authorship contribution|author) statement",
        r"corresponding authors?",
        r"authors?",
        r"orcid(?: ids?)?",
        r"(?:declarations? of |statements? of |potential )?conflicts? of interests?"
        r"(?: (?:statement|disclosures?|declaration))?",
        r"(?:declarations? of |disclosure of )?(?:competing|conflicting|financial)(?: financial)? interests?"
        r"(?: (?:statement|declaration))?",
        r"declarations? of interests?",
        r"disclosures|disclosure statement",
        r"作者信息",
        r"作者简介",
    ),
    "supporting": (
        r"(?:associated content|associated information)",
        r"(?:electronic )?(?:supporting|supplement(?:ary|al|ing)) (?:online )?"
        r"(?:information|materials?|data|files?|figures?|tables?|content|videos?)(?: available)?",
        r"supplementary",
        r"additional (?:files?|supporting information)",
        r"appendix [a-z]?\W*supplement(?:ary|al) (?:data|materials?)",
        r"支持信息",
        r"补充材料",
    ),
}
"""Kinds of section that are left out, and the whole wordings of their headings, small and without numbering."""

KNOWN = (
    r"abstract", r"summary", r"(?:\w+ )?introduction", r"background", r"(?:related|previous|prior) work", r"keywords?",
    r"(?:materials? and )?methods?(?: and materials?)?", r"materials?", r"experimental(?: section)?", r"experiments?",
    r"results?(?: and discussion)?", r"discussion(?: and conclusions?)?", r"conclusions?(?: and .{3,30})?",
    r"limitations?", r"evaluation", r"appendi(?:x|ces)", r"ethic(?:s|al) (?:statement|considerations?|approval)",
    r"data availability(?: statement)?", r"zusammenfassung",
    r"einleitung", r"résumé", r"resumen", r"摘要", r"引言", r"结论",
)  # fmt: skip

_CUT = {kind: re.compile("|".join(wordings)) for kind, wordings in CUT.items()}
_KNOWN = re.compile("|".join(KNOWN))
_NUMBER = re.compile(
    r"^(?:(?:section|chapter|part|appendix|§)\s*)?"
    r"(?:[\d０-９]{1,3}(?:[.\-][\d]{1,3})*|[ivxlc]{1,6}|[a-z])(?:\s*[.):、．]\s*|\s+|(?=[\u4e00-\u9fff]))(?=\S{3})",
)
_SPACED = re.compile(r"^(?:[^\W\d_] ){3,}[^\W\d_]\W*$")
_RUN_IN = re.compile(
    r"^\W{0,3}(acknowled?ge?ments?|funding(?: (?:sources?|information|statement))?"
    r"|authors?['’]? contributions?|(?:conflicts? of|competing|declaration of competing) interests?(?: statement)?"
    r"|corresponding authors?|supporting information(?: available)?|supplementary (?:information|materials?|data)"
    r"|associated content|author information)\W{0,3}\s*[.:—–*]",
    re.IGNORECASE,
)


def bare_heading(text: str) -> str:
    """A heading's words alone: small letters, no numbering, marks or letter-spacing."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"[*_#`■□▪●►§]+|</?[a-z]+[^>]*>", " ", text)
    text = " ".join(text.split()).casefold()
    if _SPACED.match(text):
        text = text.replace(" ", "")
    text = text.strip(" .:;—–-|")
    bare = _NUMBER.sub("", text, count=1)
    return bare.strip(" .:;—–-|()[]")


def section_kind(heading: str) -> str | None:
    """The kind of section that a heading begins where it is one of those in `CUT`, else None."""
    bare = bare_heading(heading)
    for one in (bare, *_halves(bare)):
        for kind, wording in _CUT.items():
            if wording.fullmatch(one):
                return kind
    return None


def run_in_kind(paragraph: str) -> str | None:
    """The kind of section whose heading opens `paragraph` ("Funding: …"), else None."""
    match = _RUN_IN.match(paragraph[:120])
    return section_kind(match[1]) if match else None


def is_known_section(text: str) -> bool:
    """Whether `text` alone is the name of a section of a paper, cut or kept."""
    if len(text) > 90 or text.count(" ") > 12:
        return False
    return section_kind(text) is not None or _KNOWN.fullmatch(bare_heading(text)) is not None


def _halves(bare: str) -> list[str]:
    """The parts of "acknowledgements and funding", where the whole is not known: the first decides."""
    parts = re.split(r" and | & |/", bare)
    return (
        parts[:1] if len(parts) > 1 and len(parts[0].split()) < 3 and parts[0] not in ("materials", "methods") else []
    )
