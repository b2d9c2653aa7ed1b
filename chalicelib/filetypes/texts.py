"""Which text a text is: by its extension where that tells, else by how it begins."""

import re
from itertools import islice

JSON, NDJSON = "application/json", "application/x-ndjson"
CSV, TSV = "text/csv", "text/tab-separated-values"
PLAIN, MARKDOWN, HTML, XML, SVG = "text/plain", "text/markdown", "text/html", "text/xml", "image/svg+xml"

SAMPLE_BYTES = 4096
"""How much of a text is looked at where its extension does not tell."""

_EXTENSIONS = {
    CSV: ".csv",
    HTML: ".htm .html .xhtml",
    JSON: ".geojson .har .ipynb .json .jsonld .webmanifest",
    MARKDOWN: ".markdown .md",
    NDJSON: ".jsonl .ndjson",
    SVG: ".svg",
    TSV: ".tab .tsv",
    XML: ".atom .gpx .kml .rss .xml .xsd .xsl",
    # What people write and read as text stays text, whatever it begins with.
    PLAIN: ".adoc .asc .bas .bat .bib .c .cc .cfg .cmd .conf .cpp .cs .css .diff .eml .env .go .h .hpp .ics "
    ".ini .java .js .json5 .jsonc .jsx .kt .less .log .lua .m .mjs .org .patch .pem .php .pl .po .properties "
    ".ps1 .py .r .rb .rs .rst .scala .scss .sh .sql .srt .swift .tex .text .tf .toml .ts .tsx .txt .vb .vcf "
    ".vtt .vue .yaml .yml",
}
_BY_EXTENSION = {
    extension: media_type
    for media_type, extensions in _EXTENSIONS.items()
    for extension in extensions.split()
}

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}

# What no text holds: all control characters but tab, line ends, form feed, and the escape of ISO 2022.
_CONTROL = bytes({*range(0x20)} - {*b"\t\n\v\f\r\x1b"})

_JSON_START = re.compile(rb'\s*(?:\{\s*["}]|\[\s*(?:[{"\]]|\[\s*(?:[\[{"\]\d-]|true|false|null)))')
_NDJSON_START = re.compile(rb'\s*\{\s*"[^\n]*\}[ \t\r]*\n\s*\{\s*"')

# WHATWG MIME Sniffing, section 7.1, "scriptable" types.
_HTML_START = re.compile(
    rb"\s*<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--)[\s>]",
    re.IGNORECASE,
)
_XML_START = re.compile(rb"\s*<\?xml\s")
_ROOT = re.compile(
    rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!doctype[^>\[]*(?:\[.*?\]\s*)?>\s*)*", re.DOTALL | re.IGNORECASE
)


def read(head: bytes) -> bytes | None:
    """The text in UTF-8 or another extension of ASCII, without a mark; None for what is no text."""
    for mark, encoding in _UTF16_MARKS.items():
        if head.startswith(mark):
            return _utf8(head[len(mark) :], encoding)
    if not any(map(head.__contains__, _CONTROL)):
        return head.removeprefix(_UTF8_MARK)
    return _unmarked_utf16(head)


def media_type(text: bytes, extension: str) -> str:
    """The media type of a text, as `read` returns it."""
    return _BY_EXTENSION.get(extension) or _by_content(text[:SAMPLE_BYTES])


def _by_content(text: bytes) -> str:
    if _NDJSON_START.match(text):
        return NDJSON
    if _JSON_START.match(text):
        return JSON
    if text.lstrip()[:1] == b"<":
        return _markup(text)
    return _table(text) or PLAIN


def _markup(text: bytes) -> str:
    root = _ROOT.match(text)
    inner = text[root.end() :] if root else text
    if re.match(rb"<(?:\w+:)?svg[\s/>]", inner, re.IGNORECASE):
        return SVG
    if _HTML_START.match(inner) or _HTML_START.match(text):
        return HTML
    return XML if _XML_START.match(text) else PLAIN


_QUOTED = re.compile(rb'"(?:[^"]|"")*"')
_DELIMITERS = {b"\t": TSV, b";": CSV, b",": CSV, b"|": CSV}
_COLUMN = re.compile(rb"[A-Za-z_\x80-\xff][^\s]*(?: [^\s]+){0,3}")


def _table(text: bytes) -> str | None:
    """CSV or TSV, but only what can hardly be anything else: prose as a table is worse than a table as prose.

    That is: a row of names and two more rows at least, all of as many cells; and no blank behind a
    delimiter, as prose and source code have it.
    """
    lines = _QUOTED.sub(b'""', text).splitlines()
    if len(text) == SAMPLE_BYTES:
        lines.pop()  # it may be cut off
    rows = [line for line in islice(lines, 50) if line]
    if len(rows) < 3:
        return None
    for delimiter, found in _DELIMITERS.items():
        names = rows[0].split(delimiter)
        bare = [name for name in names if name != b'""']
        if len(names) < 2 or len({*bare}) < len(bare) or not all(map(_COLUMN.fullmatch, bare)):
            continue
        if all(row.count(delimiter) == len(names) - 1 and delimiter + b" " not in row for row in rows):
            return found
    return None


def _unmarked_utf16(head: bytes) -> bytes | None:
    """Text in UTF-16 of a script whose characters have a zero for their upper byte."""
    sample = head[:SAMPLE_BYTES]
    for upper, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = sample[upper::2].count(0)
        if len(sample) >= 8 and zeros * 4 >= len(sample) // 2 * 3 and 0 not in sample[1 - upper :: 2]:
            text = _utf8(head, encoding)
            if not any(map(text.__contains__, _CONTROL)):
                return text
    return None


def _utf8(text: bytes, encoding: str) -> bytes:
    return text[:SAMPLE_BYTES].decode(encoding, "replace").encode()
