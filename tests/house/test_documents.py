"""What the documents point at exists."""

import re
import subprocess
import unittest
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def documents():
    """Markdown under version control or about to be; nothing that was installed or built."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    for heading in re.findall(r"^#+\s+(.*)$", _FENCE.sub("", text), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


class Documents(unittest.TestCase):
    def test_there_are_documents(self):
        self.assertIn(ROOT / "README.md", documents())

    def test_relative_links_resolve(self):
        for document in documents():
            for link in _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
                if re.match(r"[a-z]+:", link):
                    continue
                with self.subTest(document=str(document.relative_to(ROOT)), link=link):
                    path, _, anchor = unquote(link).partition("#")
                    target = (document.parent / path).resolve() if path else document
                    self.assertTrue(target.exists(), "no such file")
                    if anchor and target.suffix == ".md":
                        self.assertIn(anchor, list(anchors(target.read_text(encoding="utf-8"))), "no such heading")

    def test_what_replaces_a_name_of_nodejs_exists(self):
        sources = (ROOT / "crates/sockeye/src").rglob("*.rs")
        names = set(re.findall(r"\bfn (\w+)", "".join(source.read_text(encoding="utf-8") for source in sources)))
        rows = re.findall(r"^\|[^|]*\|([^|]*)\|$", (ROOT / "docs/from-node.md").read_text(encoding="utf-8"), re.MULTILINE)
        ours = {name for row in rows for name in re.findall(r"`([a-z_]+)(?:\([^`]*\)(?:\.[^`]*)?)?`", row)}
        self.assertGreater(len(ours), 60)
        self.assertLessEqual(ours - {"sockeye", "in", "error"}, names)


if __name__ == "__main__":
    unittest.main()
