"""`make test` runs every step, and fails when one of them does."""

import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MAKEFILE = """
do-setup:
\t@test -z "$(BROKEN_SETUP)"
do-good:
\t@echo good ran
do-bad:
\t@false
do-slow:
\t@sleep 60 & echo $$! > sleeper; wait
do-leaving:
\t@sleep 60 >/dev/null & echo $$! > sleeper
"""


class Steps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        (self.root / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "steps", self.root / "scripts" / "steps")
        (self.root / "Makefile").write_text(MAKEFILE)

    def run_steps(self, *steps, **environment):
        # Without what the make above us exported: its flags are not ours.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
        return subprocess.run(
            ["scripts/steps", *steps], cwd=self.root, env={**inherited, **environment}, capture_output=True, text=True
        )

    def assert_sleeper_ends(self):
        pid = int((self.root / "sleeper").read_text())
        deadline = time.monotonic() + 20
        while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
            self.assertLess(time.monotonic(), deadline, "the step's process still runs")
            time.sleep(0.02)

    def test_all_good(self):
        done = self.run_steps("setup", "good")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("good ran", done.stdout)
        self.assertIn("0 of 2 steps failed", done.stdout)

    def test_a_failure_fails_the_run_but_not_the_other_steps(self):
        done = self.run_steps("bad", "good")
        self.assertEqual(done.returncode, 1)
        self.assertIn("good ran", done.stdout)
        self.assertIn("1 of 2 steps failed", done.stdout)

    def test_an_unknown_step_fails(self):
        self.assertEqual(self.run_steps("absent", "good").returncode, 1)

    def test_nothing_runs_without_setup(self):
        done = self.run_steps("setup", "good", BROKEN_SETUP="1")
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("good ran", done.stdout)

    def test_a_step_that_hangs_is_ended(self):
        done = self.run_steps("slow", STEP_LIMIT="1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("over 1 s", done.stdout)
        self.assert_sleeper_ends()

    def test_what_a_step_leaves_running_is_ended(self):
        self.assertEqual(self.run_steps("leaving").returncode, 0)
        self.assert_sleeper_ends()


class Makefile(unittest.TestCase):
    def test_make_test_runs_every_step(self):
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        listed = re.search(r"^STEPS := (.*)$", text, re.MULTILINE)[1].split()
        defined = re.findall(r"^do-([a-z]+):", text, re.MULTILINE)
        self.assertEqual(sorted(listed), sorted(defined))
        self.assertRegex(text, r"(?m)^test:.*\n\t@scripts/steps \$\(STEPS\)$")

    def test_continuous_integration_runs_make_test(self):
        text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"^[^#\n]*\bmake\b.*$", text, re.MULTILINE), ["exec make test"])
        self.assertTrue(os.access(ROOT / ".ci" / "run", os.X_OK))


if __name__ == "__main__":
    unittest.main()
