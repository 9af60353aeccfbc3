"""Files that tests of ingest read, made here: PDF pages, a locked PDF, Office files, a zip bomb."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

WORDS = re.findall(
    r"\w+",
    """The adjuvant binds to the receptor on dendritic cells and raises the antibody titre in mice. Aluminium salts were
    given twice at an interval of three weeks under mild anaesthesia. Squalene droplets of narrow size were stored in
    glass vials and never frozen before use.""",
)
"""Words to make paragraphs of; every paragraph of `sentences` is another order of them."""

Text = tuple[float, float, float, str]
"""Left, top (points from the page's upper left), size and words."""


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The makers of files below, by name."""
    makers = (sentences, write_pdf, lines, picture_pdf, write_docx, zip_bomb)
    return SimpleNamespace(**{maker.__name__: maker for maker in makers})


def sentences(count: int, seed: int = 0) -> str:
    """`count` sentences of which hardly two are the same."""
    out = []
    for number in range(count):
        start = (7 * number + 13 * seed) % len(WORDS)
        picked = [WORDS[(start + 5 * step + seed) % len(WORDS)].lower() for step in range(11)]
        picked = [word for word in picked if word.isalpha()]
        out.append(f"{picked[0].capitalize()} {' '.join(picked[1:])} in trial {seed}x{number}.")
    return " ".join(out)


def write_pdf(path: Path, pages: Iterable[Sequence[Text]], *, bold: bool = True, password: str | None = None) -> Path:
    """A PDF file of Helvetica lines (bold from 12 points on); `password` locks it with 40-bit RC4."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", _font("Helvetica"), _font("Helvetica-Bold")]
    kids = []
    streams: list[tuple[int, bytes]] = []
    for page in pages:
        content = "".join(
            f"BT /F{2 if bold and size >= 12 else 1} {size} Tf {x} {792 - top} Td ({_escaped(words)}) Tj ET\n"
            for x, top, size, words in page
        )
        objects.append("")
        streams.append((len(objects), content.encode("latin-1", "replace")))
        resources = "<< /Font << /F1 3 0 R /F2 4 0 R >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R "
            f"/Resources {resources} >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>"
    path.write_bytes(_assembled(objects, dict(streams), password))
    return path


def lines(x: float, top: float, text: str, width: int = 44, size: float = 10.0, step: float = 12.0) -> list[Text]:
    """`text` as lines of at most `width` letters, from the height `top` on."""
    rows, row = [], ""
    for word in text.split():
        if row and len(row) + len(word) + 1 > width:
            rows.append(row)
            row = word
        else:
            row = f"{row} {word}".strip()
    return [(x, top + step * number, size, words) for number, words in enumerate([*rows, row])]


def picture_pdf(path: Path) -> Path:
    """A PDF file of one page that is a picture."""
    pixels = bytes(200 for _ in range(60 * 80))
    image = (
        "<< /Type /XObject /Subtype /Image /Width 60 /Height 80 /ColorSpace /DeviceGray /BitsPerComponent 8 "
        f"/Length {len(pixels)} >>"
    )
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Count 1 /Kids [4 0 R] >>",
        "",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R "
        "/Resources << /XObject << /I 3 0 R >> >> >>",
        "",
    ]
    drawn = b"q 612 0 0 792 0 0 cm /I Do Q"
    path.write_bytes(_assembled(objects, {3: pixels, 5: drawn}, None, heads={3: image}))
    return path


def write_docx(path: Path, paragraphs: Sequence[tuple[str, str]], extra: dict[str, bytes] | None = None) -> Path:
    """A DOCX file of (style, words): Heading1, Heading2 or Normal."""
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t xml:space="preserve">{words}</w:t></w:r></w:p>'
        for style, words in paragraphs
    )
    names = {"Heading1": "heading 1", "Heading2": "heading 2", "Normal": "Normal"}
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{one}"><w:name w:val="{name}"/></w:style>'
        for one, name in names.items()
    )
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    types, office = (
        "application/vnd.openxmlformats-",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    )
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        f'<Default Extension="rels" ContentType="{types}package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" '
        f'ContentType="{types}officedocument.wordprocessingml.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "word/styles.xml": f"<w:styles {space}>{styles}</w:styles>",
        "word/document.xml": f"<w:document {space}><w:body>{body}</w:body></w:document>",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return path


def zip_bomb(path: Path, megabytes: int) -> Path:
    """A DOCX file that unpacks to so many megabytes of nothing."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("word/document.xml", "w", force_zip64=True) as file:
            for _ in range(megabytes):
                file.write(bytes(1_000_000))
    path.write_bytes(packed.getvalue())
    return path


def _font(name: str) -> str:
    return f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _assembled(
    objects: Sequence[str], streams: dict[int, bytes], password: str | None, heads: dict[int, str] | None = None
) -> bytes:
    """The file: header, objects, table of their places, trailer."""
    identity = hashlib.md5(b"tests").digest()
    key, encrypt = _locked(password, identity) if password is not None else (None, "")
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, text in enumerate([*objects, *([encrypt] if encrypt else [])], 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode()
        if number in streams:
            data = streams[number] if key is None else _rc4(_object_key(key, number), streams[number])
            head = (heads or {}).get(number) or f"<< /Length {len(data)} >>"
            out += head.encode() + b"\nstream\n" + data + b"\nendstream"
        else:
            out += text.encode("latin-1")
        out += b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    lock = f" /Encrypt {len(places)} 0 R /ID [<{identity.hex()}> <{identity.hex()}>]" if encrypt else ""
    out += f"trailer\n<< /Size {len(places) + 1} /Root 1 0 R{lock} >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def _locked(password: str, identity: bytes) -> tuple[bytes, str]:
    """The key and the encryption dictionary of the standard handler, revision 2."""
    padded = (password.encode("latin-1") + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    rights = -4
    key = hashlib.md5(padded + owner + rights.to_bytes(4, "little", signed=True) + identity).digest()[:5]
    user = _rc4(key, _PADDING)
    return key, f"<< /Filter /Standard /V 1 /R 2 /O <{owner.hex()}> /U <{user.hex()}> /P {rights} >>"


def _object_key(key: bytes, number: int) -> bytes:
    return hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[:10]


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    out = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
