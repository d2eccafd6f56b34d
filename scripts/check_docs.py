"""Check the Markdown pages: every relative link must lead to a file, every #fragment to a heading.

Prints one line a dead link and exits 1 when there is any.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(
    r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s+<?(\S+?)>?\s*$", re.MULTILINE
)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
ELSEWHERE = re.compile(r"^([a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def pages(root: Path) -> list[Path]:
    """The project's Markdown files: those at the top and all of docs/."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def anchors(text: str) -> set[str]:
    """The fragments that the page's headings can be reached by (as the usual Markdown hosts make them)."""
    found: dict[str, int] = {}
    result = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        seen = found.get(slug, 0)
        found[slug] = seen + 1
        result.add(f"{slug}-{seen}" if seen else slug)
    return result


def targets(text: str) -> Iterator[str]:
    """The link targets of a page, code left out."""
    for inline, reference in LINK.findall(INLINE_CODE.sub("", FENCE.sub("", text))):
        yield inline or reference


def dead_links(root: Path) -> list[str]:
    """One sentence for each relative link under `root` that leads nowhere."""
    dead = []
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        for target in targets(text):
            if ELSEWHERE.match(target):
                continue
            if problem := _problem(root, page, *target.partition("#")[::2]):
                dead.append(f"{page.relative_to(root)}: ({target}) {problem}")
    return dead


def _problem(root: Path, page: Path, path: str, fragment: str) -> str | None:
    base = root if path.startswith("/") else page.parent
    file = base / unquote(path).lstrip("/") if path else page
    if not file.exists():
        return "names a file that does not exist"
    if fragment and file.suffix == ".md" and fragment not in anchors(file.read_text(encoding="utf-8")):
        return f"names a heading that {file.name} does not have"
    return None


def main() -> int:
    """Check the checkout that this script lies in; returns the exit code."""
    root = Path(__file__).resolve().parent.parent
    dead = dead_links(root)
    print(*(dead or [f"{len(pages(root))} pages, no dead link"]), sep="\n")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
