"""The requirements table is true, and its checker notices a table that is not."""

import tempfile
import unittest
from pathlib import Path

import requirements

ROOT = Path(__file__).resolve().parents[2]

RUST = """
#[test]
fn refuses_bad_key() {}

#[tokio::test(flavor = "current_thread")]
#[should_panic]
async fn upgrades() {}

#[test]
#[ignore = "slow"]
fn ignored() {}

fn helper() {}

// #[test]
// fn commented_out() {}

proptest! {
    #[test]
    fn round_trip(bytes in any::<Vec<u8>>()) {}
}
"""

JAVASCRIPT = """
test("upgrades under load", async () => {});
  it('says "hello"', () => {});
test.skip("skipped", () => {});
// test("commented out", () => {});
"""

PYTHON = """
class TestPolling:
    async def test_echo(self):
        pass

@pytest.mark.skip
def test_skipped():
    pass

def helper():
    pass
"""


class Table(unittest.TestCase):
    """Checks of small made-up repositories."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        (self.root / "docs").mkdir()
        (self.root / "a.rs").write_text(RUST)
        (self.root / "a.test.mjs").write_text(JAVASCRIPT)
        (self.root / "test_a.py").write_text(PYTHON)

    def faults(self, rows=None, without=(), extra=()):
        """What the checker says of a sound table in which `rows` are replaced."""
        cells = {key: "text | not yet |" for key in requirements.EXPECTED}
        cells.update(rows or {})
        lines = [f"| {key} | {cell} |" for key, cell in cells.items() if key not in without]
        text = "\n".join(["| id | asked | state | proof |", "| --- | --- | --- | --- |", *lines, *extra])
        (self.root / "docs" / "requirements.md").write_text(text)
        return requirements.check(self.root)

    def assert_one_fault(self, faults, *words):
        self.assertEqual(len(faults), 1, faults)
        for word in words:
            self.assertIn(word, faults[0])

    def test_a_sound_table_passes(self):
        rows = {
            "M1": "text | proven | `a.rs::refuses_bad_key`, `a.rs::upgrades`",
            "M2": "text | proven | `a.rs::round_trip`, `a.test.mjs::upgrades under load`",
            "M3": 'text | proven | `a.test.mjs::says "hello"`',
            "M4": "text | partly | `test_a.py::TestPolling.test_echo`; not yet: the rest",
            "M5": "text | not yet | with the backend interface",
        }
        self.assertEqual(self.faults(rows), [])

    def test_a_missing_table_fails(self):
        self.assert_one_fault(requirements.check(self.root), "does not exist")

    def test_a_missing_row_fails(self):
        self.assert_one_fault(self.faults(without=("M7",)), "M7", "no row")

    def test_a_doubled_row_fails(self):
        self.assert_one_fault(self.faults(extra=["| M7 | text | not yet | |"]), "M7", "more than one")

    def test_an_unknown_row_fails(self):
        self.assert_one_fault(self.faults(extra=["| M39 | text | not yet | |"]), "M39")

    def test_a_torn_row_fails(self):
        faults = self.faults({"M7": "text"})
        self.assert_one_fault(faults[:1], "M7", "cells")

    def test_a_missing_file_fails(self):
        self.assert_one_fault(self.faults({"M1": "t | proven | `b.rs::upgrades`"}), "M1", "no file b.rs")

    def test_a_test_that_does_not_run_fails(self):
        names = ["a.rs::absent", "a.rs::ignored", "a.rs::helper", "a.rs::commented_out", "a.rs::refuses_bad"]
        names += ["a.test.mjs::skipped", "a.test.mjs::commented out", "a.test.mjs::upgrades"]
        names += ["test_a.py::test_skipped", "test_a.py::helper", "test_a.py::test_absent"]
        for name in names:
            with self.subTest(name):
                faults = self.faults({"M1": f"t | proven | `{name}`"})
                self.assert_one_fault(faults, "M1", "no test")

    def test_a_state_without_its_proof_fails(self):
        for cell in (
            "t | proven |",
            "t | partly | not yet: all of it",
            "t | partly | `a.rs::upgrades`",
            "t | proven | `a.rs::upgrades`; not yet: the rest",
            "t | not yet | `a.rs::upgrades`",
            "t | done | `a.rs::upgrades`",
            " | not yet | later",
        ):
            with self.subTest(cell):
                self.assert_one_fault(self.faults({"M1": cell}), "M1")


class Ours(unittest.TestCase):
    def test_our_table(self):
        self.assertEqual(requirements.check(ROOT), [])


if __name__ == "__main__":
    unittest.main()
