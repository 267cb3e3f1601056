"""docs/limits.md says what the reference of the settings says, which is made from their table."""

import re
import unittest
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"

_SETTING = re.compile(r"^### `([a-z_.]+)`$(.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"^\| [a-z ]+ \| `(\d+)` \|", re.MULTILINE)
_ROW = re.compile(r"^\|[^|]*\| `([a-z_.]+)` \| (\d+) \|", re.MULTILINE)


def settings():
    """Path to default of every setting; the default is None unless it is a number."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    defaults = {path: _NUMBER.search(body) for path, body in _SETTING.findall(text)}
    return {path: int(found[1]) if found else None for path, found in defaults.items()}


def rows():
    return {path: int(default) for path, default in _ROW.findall((DOCS / "limits.md").read_text(encoding="utf-8"))}


class Limits(unittest.TestCase):
    def test_the_defaults_are_those_of_the_server(self):
        actual = settings()
        self.assertGreater(len(rows()), 15)
        for path, default in rows().items():
            with self.subTest(path):
                self.assertEqual(default, actual.get(path))

    def test_every_limit_is_listed(self):
        paths = [p for p in settings() if re.search(r"^limits\.|[._](max_|window_ms|timeout)", p)]
        self.assertGreater(len(paths), 15)
        for path in paths:
            self.assertIn(path, rows())


if __name__ == "__main__":
    unittest.main()
