"""`make counts` notices a loss of a twentieth, and judges nothing that it cannot know."""

import contextlib
import importlib.util
import io
import json
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]


def load():
    loader = SourceFileLoader("counts", str(ROOT / "scripts" / "counts"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("counts", loader))
    loader.exec_module(module)
    return module


counts = load()

HERE = {"rustc": "1.95.0", "target": "x86_64", "found": "avx avx2"}
ELSEWHERE = {**HERE, "found": "avx"}
KNOWN = {"core::echo::one": 100_000, "library::echo": 10_000}


def output(name, instructions):
    """A line of the benchmarks' output, as far as it is read."""
    path, _, ident = name.rpartition("::")
    metrics = {"Ir": {"values": {"new": instructions, "old": 1}}, "Dr": {"values": {"new": 1}}}
    profile = {"tool": "Callgrind", "data": {"total": {"metrics": metrics}}}
    return json.dumps({"module_path": f"instructions::{path}", "id": ident, "profiles": [profile]})


class Judge(unittest.TestCase):
    def test_what_is_expected_passes(self):
        self.assertEqual(counts.judge(KNOWN, KNOWN), {})

    def test_a_loss_of_a_twentieth_is_noticed(self):
        faults = counts.judge({**KNOWN, "core::echo::one": 105_000}, KNOWN)
        self.assertEqual(faults, {"core::echo::one": "+5.00 %: a loss"})

    def test_it_is_noticed_after_any_gain_that_passes(self):
        for gain in range(0, 3000, 10):
            before = {"core::echo::one": 100_000 - gain}
            if counts.judge(before, {"core::echo::one": 100_000}):
                self.assertGreaterEqual(gain, 2000)
                return
            after = {"core::echo::one": before["core::echo::one"] * 1.05}
            self.assertTrue(counts.judge(after, {"core::echo::one": 100_000}), gain)
        self.fail("every gain passes")

    def test_small_changes_pass(self):
        for count in (98_100, 101_900):
            self.assertEqual(counts.judge({**KNOWN, "core::echo::one": count}, KNOWN), {})

    def test_a_benchmark_without_expectation_and_one_that_did_not_run(self):
        faults = counts.judge({"core::echo::one": 100_000, "core::new": 1}, KNOWN)
        self.assertEqual(sorted(faults), ["core::new", "library::echo"])


class Reading(unittest.TestCase):
    def test_the_output_is_read_and_base_is_subtracted(self):
        lines = [
            "compiling",
            output("core::echo::one", 100_000),
            output("library::echo::base", 5_000),
            output("library::echo::more", 15_000),
        ]
        self.assertEqual(counts.parse(lines), KNOWN)

    def test_the_nearer_of_two_counts(self):
        before, after = {"library::echo": 10_900, "core::echo::one": 1}, {"library::echo": 10_010}
        self.assertEqual(counts.nearest(before, after, KNOWN), {"library::echo": 10_010})
        self.assertEqual(counts.nearest(after, before, KNOWN)["library::echo"], 10_010)

    def test_the_store_names_benchmarks_that_all_environments_share(self):
        store = json.loads(counts.STORE.read_text(encoding="utf-8"))
        self.assertGreater(len(store), 0)
        for entry in store:
            self.assertGreater(len(entry["instructions"]), 30)
            self.assertTrue({"rustc", "target", "libc", "valgrind", "made for", "found"} <= set(entry["environment"]))


class Run(unittest.TestCase):
    """The whole of it, with counts made up."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=ROOT / "tests" / "house")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "instructions.json"
        self.write(counts.stored([], HERE, KNOWN))

    def write(self, store):
        self.path.write_text(json.dumps(store), encoding="utf-8")

    def run_with(self, environment, *attempts, arguments=()):
        attempts = [dict(attempt) for attempt in attempts]
        out = io.StringIO()
        with (
            mock.patch.object(counts, "STORE", self.path),
            mock.patch.object(counts, "describe_environment", return_value=environment),
            mock.patch.object(counts, "count", side_effect=attempts),
            contextlib.redirect_stdout(out),
        ):
            return counts.main(list(arguments)), out.getvalue()

    def test_what_is_expected_passes(self):
        self.assertEqual(self.run_with(HERE, KNOWN)[0], 0)

    def test_a_loss_fails_and_is_named(self):
        status, out = self.run_with(HERE, {**KNOWN, "core::echo::one": 105_000})
        self.assertEqual(status, 1)
        self.assertIn("core::echo::one: +5.00 %: a loss", out)

    def test_another_environment_is_reported_and_not_judged(self):
        status, out = self.run_with(ELSEWHERE, {**KNOWN, "core::echo::one": 200_000})
        self.assertEqual(status, 0)
        self.assertIn("200,000", out)
        self.assertIn("make counts-store", out)

    def test_a_count_of_several_threads_is_counted_again(self):
        disturbed = {**KNOWN, "library::echo": 10_600}
        self.assertEqual(self.run_with(HERE, disturbed, {"library::echo": 10_050})[0], 0)
        lost = {"library::echo": 10_500}
        self.assertEqual(self.run_with(HERE, disturbed, lost, lost)[0], 1)

    def test_storing_replaces_this_environment_only(self):
        self.write(counts.stored(counts.stored([], ELSEWHERE, {"a": 1}), HERE, {"b": 2}))
        self.assertEqual(self.run_with(HERE, KNOWN, arguments=["--store"])[0], 0)
        store = json.loads(self.path.read_text(encoding="utf-8"))
        self.assertEqual(counts.find(store, HERE), KNOWN)
        self.assertEqual(counts.find(store, ELSEWHERE), {"a": 1})


if __name__ == "__main__":
    unittest.main()
