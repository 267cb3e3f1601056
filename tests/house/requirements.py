"""Checks docs/requirements.md: every requirement has its row, and every test that a row names exists.

A row is `| M1 | what is asked | state | proof |`. The state is one of

* `proven`: the proof names at least one test and nothing is left open;
* `partly`: the proof names at least one test and says after "not yet:" what is missing;
* `not yet`: no test is named; the proof may say what is planned.

A test is named in backticks as `path/from/the/root::name`. The name of a Rust test is that of its function, the name of a
Python test that of its function or method, the name of a JavaScript test the text given to `test` or `it`.

usage: python3 tests/house/requirements.py [ROOT]
"""

import re
import sys
from pathlib import Path

EXPECTED = [f"M{n}" for n in range(1, 39)]
STATES = ("proven", "partly", "not yet")

_ROW = re.compile(r"^\|\s*(M\d+)\s*\|(.*)\|\s*$")
_NAMED = re.compile(r"`([^`]+?)::([^`]+)`")


def check(root):
    """Returns what is wrong with the table below `root`, one sentence each; empty if nothing is."""
    root = Path(root)
    table = root / "docs" / "requirements.md"
    if not table.is_file():
        return ["docs/requirements.md does not exist"]
    faults = []
    seen = []
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
        row = _ROW.match(line)
        if not row:
            if re.match(r"^\|\s*M\d", line):
                faults.append(f"line {number}: not a row: {line.strip()[:60]}")
            continue
        key, rest = row.groups()
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", rest)]
        if len(cells) != 3:
            faults.append(f"{key}: {len(cells) + 1} cells instead of 4")
            continue
        if key in seen:
            faults.append(f"{key}: more than one row")
        seen.append(key)
        faults += [f"{key}: {fault}" for fault in _check_row(root, *cells)]
    faults += [f"{key}: no row" for key in EXPECTED if key not in seen]
    faults += [f"{key}: not a requirement we know" for key in seen if key not in EXPECTED]
    return faults


def _check_row(root, text, state, proof):
    tests = _NAMED.findall(proof)
    if not text:
        yield "no text"
    if state not in STATES:
        yield f"state {state!r} is none of {', '.join(STATES)}"
    open_part = re.search(r"not yet:\s*\S", proof)
    if state in ("proven", "partly") and not tests:
        yield f"{state}, but no test is named"
    if state == "proven" and "not yet" in proof:
        yield "proven, but something is said to be open"
    if state == "partly" and not open_part:
        yield 'partly, but the proof does not say after "not yet:" what is missing'
    if state == "not yet" and tests:
        yield "not yet, but a test is named"
    for path, name in tests:
        file = root / path
        if not file.is_file():
            yield f"no file {path}"
        elif not has_test(file, name):
            yield f"no test {name!r} in {path}"


def has_test(file, name):
    """Whether `file` holds a test called `name` that runs: neither commented out nor ignored."""
    text = Path(file).read_text(encoding="utf-8")
    if file.suffix == ".rs":
        return _has_rust_test(_without_comments(text), name)
    if file.suffix == ".py":
        return _has_python_test(text, name)
    if file.suffix in (".js", ".mjs", ".cjs", ".ts"):
        return _has_javascript_test(_without_comments(text), name)
    return False


def _without_comments(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)


def _has_rust_test(text, name):
    for found in re.finditer(rf"^[ \t]*(?:pub\s+)?(?:async\s+)?fn\s+{re.escape(name)}\s*[(<]", text, re.MULTILINE):
        attributes = []
        for line in reversed(text[: found.start()].rstrip().splitlines()):
            line = line.strip()
            if not line.startswith("#["):
                break
            attributes.append(line)
        if any(re.match(r"#\[ignore\b", a) for a in attributes):
            continue
        if any(re.match(r"#\[(?:\w+::)*test\b", a) for a in attributes):
            return True
    return False


def _has_python_test(text, name):
    function = name.rsplit(".", 1)[-1]
    if not function.startswith("test"):
        return False
    found = re.search(rf"((?:^[ \t]*@.*\n)*)^[ \t]*(?:async\s+)?def\s+{re.escape(function)}\s*\(", text, re.MULTILINE)
    return bool(found) and not re.search(r"@\S*\.skip\b", found.group(1))


def _has_javascript_test(text, name):
    # The text of a test may hold quotes of the other kinds; `test.skip` and `test.todo` do not match.
    return any(
        re.search(rf"(?<![\w.])(?:test|it)\(\s*{q}{re.escape(name)}{q}", text) for q in ("'", '"', "`")
    )


def main(arguments):
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2]
    faults = check(root)
    for fault in faults:
        print(f"docs/requirements.md: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
