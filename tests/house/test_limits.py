"""docs/limits.md says what the server's table of settings says."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "crates" / "server" / "src" / "config" / "table.rs"

_SETTING = re.compile(r'^    [A-Z_]+: "(?P<path>[a-z_.]+)", "[a-z-]+",(?P<rest>.*?);$', re.DOTALL | re.MULTILINE)
_DEFAULT = re.compile(r"\bInteger\(([^()]+)\),")
_ROW = re.compile(r"^\|[^|]*\| `([a-z_.]+)` \| (\d+) \|", re.MULTILINE)


def settings():
    """Path to default of every setting; the default is None unless it is a number."""
    text = TABLE.read_text(encoding="utf-8")
    constants = {name: value for name, value in re.findall(r"^const (\w+): u64 = (.*);$", text, re.MULTILINE)}
    found = {}
    for setting in _SETTING.finditer(text):
        default = _DEFAULT.search(setting["rest"])
        found[setting["path"]] = _number(constants.get(default[1], default[1])) if default else None
    return found


def _number(expression):
    """The value of an expression such as `25_000` or `256 << 10`."""
    left, _, right = expression.replace("_", "").partition("<<")
    return int(left) << int(right or 0)


class Limits(unittest.TestCase):
    def test_the_defaults_are_those_of_the_server(self):
        actual = settings()
        rows = _ROW.findall((ROOT / "docs" / "limits.md").read_text(encoding="utf-8"))
        self.assertGreater(len(rows), 15)
        for path, default in rows:
            with self.subTest(path):
                self.assertIn(path, actual)
                self.assertEqual(int(default), actual[path])

    def test_every_limit_is_listed(self):
        listed = dict(_ROW.findall((ROOT / "docs" / "limits.md").read_text(encoding="utf-8")))
        paths = [p for p in settings() if p.startswith("limits.") or re.search(r"[._](max_|window_ms|timeout)", p)]
        self.assertGreater(len(paths), 10)
        for path in paths:
            self.assertIn(path, listed)


if __name__ == "__main__":
    unittest.main()
