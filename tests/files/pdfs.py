"""PDFs of a few objects, written by hand, so that each can be wrong in just the way that a test wants."""

import zlib
from collections.abc import Sequence
from hashlib import md5

A4 = (595, 842)


def document(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A file with these objects, numbered from 1; the first is the catalog."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R%s>>\n" % (len(objects) + 1, trailer)
    return bytes(out) + b"startxref\n%d\n%%%%EOF\n" % start


def stream(data: bytes, entries: bytes = b"", *, packed: bool = False) -> bytes:
    if packed:
        data, entries = zlib.compress(data), entries + b"/Filter/FlateDecode"
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(data), entries, data)


def text(line: str, *, size: int = 24) -> bytes:
    """The content of a page that shows one line, each character by its code in UTF-16."""
    return b"BT /F1 %d Tf 72 700 Td <%s> Tj ET" % (size, line.encode("utf-16-be").hex().encode())


def of_pages(
    contents: Sequence[bytes],
    *,
    box: tuple[float, float] = A4,
    page: bytes = b"",
    resources: bytes = b"",
    info: bytes = b"",
    more: Sequence[bytes] = (),
) -> bytes:
    """A file of pages with these contents; the objects of `more` begin with number 8.

    The font F1 has no glyphs, and maps each code to the character of that number.
    """
    first = 8 + len(more)
    kids = b" ".join(b"%d 0 R" % (first + 2 * number) for number in range(len(contents)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(contents), kids),
        b"<</Type/Font/Subtype/Type0/BaseFont/F/Encoding/Identity-H/DescendantFonts[4 0 R]/ToUnicode 5 0 R>>",
        b"<</Type/Font/Subtype/CIDFontType2/BaseFont/F/CIDSystemInfo"
        b"<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/FontDescriptor 6 0 R/DW 1000>>",
        stream(_TO_UNICODE),
        b"<</Type/FontDescriptor/FontName/F/Flags 4/FontBBox[0 0 1000 1000]/ItalicAngle 0/Ascent 800"
        b"/Descent -200/CapHeight 700/StemV 80>>",
        b"<<%s>>" % info,
        *more,
    ]
    for number, content in enumerate(contents):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %g %g]/Contents %d 0 R%s"
            b"/Resources<</Font<</F1 3 0 R>>%s>>>>" % (*box, first + 2 * number + 1, page, resources)
        )
        objects.append(stream(content))
    return document(*objects, trailer=b"/Info 7 0 R")


def with_lines(*lines: str) -> bytes:
    """A page for each line."""
    return of_pages([text(line) for line in lines])


def encrypted(line: str, *, password: str) -> bytes:
    """A page with a line of ASCII in RC4 with 40 bits (ISO 32000-1, section 7.6, algorithms 1 to 4)."""
    identifier = b"0123456789abcdef"
    pad = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
    user = (password.encode() + pad)[:32]
    owners = _rc4(md5(pad).digest()[:5], user)
    key = md5(user + owners + b"\xfc\xff\xff\xff" + identifier).digest()[:5]
    content = _rc4(
        md5(key + bytes([4, 0, 0, 0, 0])).digest()[:10], b"BT /F 24 Tf 72 700 Td (%s) Tj ET" % line.encode()
    )
    return document(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R"
        b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        stream(content),
        trailer=b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>/ID[<%s><%s>]"
        % tuple(part.hex().encode() for part in (owners, _rc4(key, pad), identifier, identifier)),
    )


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


_TO_UNICODE = (
    b"begincmap/CMapType 2 def\n"
    b"1 begincodespacerange <0000> <ffff> endcodespacerange\n"
    b"1 beginbfrange <0000> <ffff> <0000> endbfrange\n"
    b"endcmap"
)
