"""docs/limits.md says what the code says: defaults, setters and metrics."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "crates" / "sockeye" / "src"

_SETTING = re.compile(r"^### `([a-z_.]+)`$(.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"^\| [a-z ]+ \| `(\d+)` \|", re.MULTILINE)
_ROW = re.compile(r"^\|[^|]*\| `([a-z_.]+)` \| (\d+) \|", re.MULTILINE)
# The cell after the default, or after the two empty ones of a limit that only the library has.
_SETTER = re.compile(r"\|(?: \d+ \|| \|) `([a-z_]+)`")


def read(*path):
    return ROOT.joinpath(*path).read_text(encoding="utf-8")


def settings():
    """Path to default of every setting of the server; the default is None unless it is a number.

    The page is made from the table of settings, and a test of the server holds it to that.
    """
    defaults = {path: _NUMBER.search(body) for path, body in _SETTING.findall(read("docs", "configuration.md"))}
    return {path: int(found[1]) if found else None for path, found in defaults.items()}


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.page = read("docs", "limits.md")
        cls.rows = {path: int(default) for path, default in _ROW.findall(cls.page)}

    def test_the_defaults_are_those_of_the_server(self):
        actual = settings()
        self.assertGreater(len(self.rows), 15)
        for path, default in self.rows.items():
            with self.subTest(path):
                self.assertEqual(default, actual.get(path))

    def test_every_limit_of_the_server_is_listed(self):
        paths = [p for p in settings() if re.search(r"^limits\.|[._](max_|window_ms|interval|timeout)", p)]
        self.assertGreater(len(paths), 15)
        for path in paths:
            self.assertIn(path, self.rows)

    def test_the_setters_are_those_of_the_library(self):
        listed = set(_SETTER.findall(self.page))
        source = read(LIBRARY, "config.rs")
        methods = set(re.findall(r"^    pub fn (\w+)\(mut self", source, re.MULTILINE))
        self.assertLessEqual(listed, methods)
        limiting = {m for m in methods if m.startswith("max_") or m.endswith(("_timeout", "_limit"))}
        self.assertGreater(len(limiting), 15)
        self.assertLessEqual(limiting, listed)

    def test_the_metrics_exist(self):
        listed = set(re.findall(r"`sockeye_(\w+?)_total`", self.page))
        self.assertGreater(len(listed), 10)
        source = read(LIBRARY, "metrics.rs")
        self.assertLessEqual(listed, set(re.findall(r'^ +\(?"?(\w+)"?[:,](?: "|$)', source, re.MULTILINE)))


if __name__ == "__main__":
    unittest.main()
