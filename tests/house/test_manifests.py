"""The workspace is laid out as ARCHITECTURE.md says."""

import json
import os
import re
import subprocess
import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Which of our crates each may depend on, outside of its tests. Read from the bottom up in ARCHITECTURE.md.
LAYERS = {
    "sockeye-websocket": set(),
    "sockeye-protocol": set(),
    "sockeye-cluster": {"sockeye-protocol"},
    "sockeye-core": {"sockeye-protocol", "sockeye-cluster"},
    "sockeye": {"sockeye-websocket", "sockeye-protocol", "sockeye-cluster", "sockeye-core"},
    "sockeye-redis": {"sockeye-protocol", "sockeye-cluster"},
    "sockeye-bench": {"sockeye-websocket", "sockeye-protocol"},
    "sockeye-server": {"sockeye", "sockeye-bench"},
    "sockeye-counts": {"sockeye-websocket", "sockeye-protocol", "sockeye-core"},
}

# No I/O, no clock and no tasks in these: bytes and the time in, bytes and events out.
SANS_IO = ("sockeye-websocket", "sockeye-protocol", "sockeye-core")
IO_CRATES = {"tokio", "hyper", "hyper-util", "mio", "async-std", "smol", "futures-executor", "socket2"}


def metadata():
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def packaged(name):
    """The files of the package of a crate."""
    command = ["cargo", "package", "--list", "--allow-dirty", "-p", name]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.metadata = metadata()
        cls.packages = {package["name"]: package for package in cls.metadata["packages"]}

    def test_default_members_are_the_server_and_the_library(self):
        names = [p["name"] for p in self.metadata["packages"] if p["id"] in self.metadata["workspace_default_members"]]
        self.assertEqual(sorted(names), ["sockeye", "sockeye-server"])

    def test_there_is_one_binary(self):
        """A second one would make `cargo run` ask which."""
        members = self.metadata["workspace_default_members"]
        packages = [p for p in self.packages.values() if p["id"] in members]
        binaries = [t["name"] for p in packages for t in p["targets"] if "bin" in t["kind"]]
        self.assertEqual(binaries, ["sockeye"])

    def test_the_layers_hold(self):
        for name, package in self.packages.items():
            with self.subTest(name):
                self.assertIn(name, LAYERS, "a crate that LAYERS and ARCHITECTURE.md do not know")
                used = {d["name"] for d in package["dependencies"] if d["kind"] != "dev"}
                self.assertLessEqual(used & set(LAYERS), LAYERS[name])
                if name in SANS_IO:
                    self.assertFalse(used & IO_CRATES)

    def test_every_crate_inherits_from_the_workspace(self):
        for name, package in self.packages.items():
            with self.subTest(name):
                manifest = tomllib.loads(Path(package["manifest_path"]).read_text(encoding="utf-8"))
                self.assertEqual(manifest["lints"], {"workspace": True})
                for key in ("version", "edition", "license"):
                    self.assertEqual(manifest["package"][key], {"workspace": True}, key)

    def test_the_lock_file_is_current(self):
        command = ["cargo", "metadata", "--locked", "--format-version", "1"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_a_crate_embeds_is_in_its_package(self):
        embedded = re.compile(r'include_(?:str|bytes)!\("([^"]+)"\)')
        found = 0
        for package in self.packages.values():
            folder = Path(package["manifest_path"]).parent
            listed = None
            for source in folder.glob("src/**/*.rs"):
                # The front page is checked by doc tests, which run in the repository only.
                text = re.sub(r"#\[cfg\(doctest\)\]\n#\[doc = include_str.*", "", source.read_text(encoding="utf-8"))
                for target in embedded.findall(text):
                    listed = listed or packaged(package["name"])
                    path = os.path.relpath(os.path.normpath(source.parent / target), folder)
                    with self.subTest(package=package["name"], path=path):
                        self.assertIn(path, listed)
                    found += 1
        self.assertGreater(found, 3)

    def test_the_playground_has_the_client_of_clients_js(self):
        served = ROOT / "crates/server/assets/playground/sockeye.js"
        self.assertEqual(served.resolve(), ROOT / "clients/js/sockeye.js", "a link: there is one client")


if __name__ == "__main__":
    unittest.main()
