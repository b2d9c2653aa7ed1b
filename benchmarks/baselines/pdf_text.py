"""The text of a PDF, as the documentation of each library has it."""

from pathlib import Path


def by_pypdfium2(path: Path, target: Path) -> None:
    import pypdfium2

    document = pypdfium2.PdfDocument(path)
    with target.open("w", encoding="utf-8") as file:
        for page in document:
            textpage = page.get_textpage()
            file.write(textpage.get_text_range())
            textpage.close()
            page.close()
    document.close()


def by_pypdf(path: Path, target: Path) -> None:
    import pypdf

    reader = pypdf.PdfReader(path)
    with target.open("w", encoding="utf-8") as file:
        for page in reader.pages:
            file.write(page.extract_text())
