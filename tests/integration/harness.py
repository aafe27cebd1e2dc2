"""A whole editd in a folder of its own: real processes, real sockets, a real disk.

    with Editd() as editd:                     # starts the daemon; ends it and removes the folder afterwards
        editd.import_model(tiny_model.write(editd.path("tiny")), "tiny")
        job = editd.submit(TRIM)               # waits; the last object that --json printed
        out = editd.ctl("log", "small")        # .out, .err, .code; an unexpected exit status is an error with both

Only Python's standard library. The programs come from the folder EDITD_BIN_DIR (ctest sets it). EDITD_TEST_KEEP=1 leaves
the folder and says where it is.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("EDITD_BIN_DIR", ROOT / "build/release/bin"))
DEPS = pathlib.Path(os.environ.get("EDITD_DEPS_DIR", ROOT / "build/deps"))
# Configuration that adds the plugins that only tests load.
TEST_PLUGINS = f"plugin_dirs = {BIN.parent}/lib/editd/plugins:{BIN.parent}/tests/plugins\n"
# A sanitizer's own memory has no limit that we could set, and its symbolizer is a program that a worker may start.
SANITIZED = os.environ.get("EDITD_TEST_BUILD") in ("asan", "tsan")
# What a slow machine, sanitisers and all, may take for any one thing.
PATIENCE = float(os.environ.get("EDITD_TEST_PATIENCE", "120"))


class Finished:
    """What a command left: exit status, standard output, standard error."""

    def __init__(self, arguments, code, out, err):
        self.arguments, self.code, self.out, self.err = arguments, code, out, err

    def json(self):
        """The objects that --json printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]

    def __str__(self):
        return f"$ {' '.join(map(str, self.arguments))}\nexit status {self.code}\n{self.out}{self.err}"


class Editd:
    def __init__(self, config="", folder=None, programs=BIN):
        self.programs = programs
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="editd-"))
        self.state = self.folder / "state"
        self.config = self.folder / "editd.conf"
        self.config.write_text(config)
        self.log = self.folder / "editd.log"
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, traceback):
        if error is not None and self.log.exists():
            print(f"--- the daemon {'runs' if not self.process or self.process.poll() is None else f'ended with {self.process.returncode}'}")
            print(f"--- the end of {self.log}\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-30:]))
        if self.process:
            self.kill()
        if os.environ.get("EDITD_TEST_KEEP"):
            print(f"kept {self.folder}")
        else:
            make_removable(self.folder)
            shutil.rmtree(self.folder)

    def path(self, name):
        return self.folder / name

    def write(self, name, text):
        path = self.path(name)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def environment(self, extra=None):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("EDITD_") or key.startswith("EDITD_TEST")}
        return kept | {"EDITD_STATE_DIR": str(self.state)} | (extra or {})

    # --- the daemon ---------------------------------------------------------------------------------------------------

    def launch(self, environment=None):
        """Starts the daemon and does not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "editd", "--config", self.config, "--state-dir", self.state], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=self.environment(environment))
        return self.process

    def start(self, environment=None):
        """Starts the daemon and waits until it answers."""
        self.launch(environment)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None:
                raise AssertionError(f"editd ended with {self.process.returncode}:\n" + self.log.read_text(errors="replace")[-3000:])
            if time.monotonic() > deadline:
                raise AssertionError("editd does not answer")
            time.sleep(0.005)

    def answers(self):
        """True if this daemon listens: a child of the one that was killed may hold the old socket a moment longer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            try:
                s.connect(str(self.state / "editd.sock"))
            except OSError:
                return False
            listener, _, _ = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return listener == self.process.pid

    def kill(self):
        """kill -9, and waits until it is gone."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """Ends the daemon as a service manager would."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.process = None
        if code != 0:
            raise AssertionError(f"editd ended with {code}:\n" + self.log.read_text(errors="replace")[-3000:])

    def restart(self):
        self.stop()
        self.start()

    # --- the client ---------------------------------------------------------------------------------------------------

    def popen(self, *arguments, **options):
        return subprocess.Popen([self.programs / "editctl", *map(str, arguments)], env=self.environment(), cwd=self.folder,
                                stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **options)

    def ctl(self, *arguments, code=0, stdin=None):
        """Runs editctl to its end. `code` is the exit status expected; None: any."""
        done = subprocess.run([self.programs / "editctl", *map(str, arguments)], env=self.environment(), cwd=self.folder,
                              input=stdin or "", capture_output=True, text=True, timeout=PATIENCE)
        finished = Finished(["editctl", *arguments], done.returncode, done.stdout, done.stderr)
        if code is not None and done.returncode != code:
            raise AssertionError(f"exit status {code} was expected\n{finished}")
        return finished

    def json(self, *arguments):
        return self.ctl("--json", *arguments).json()

    def refused(self, *arguments, stdin=None):
        """Runs editctl, which must fail; returns what it said: how a job ended stands on standard output."""
        finished = self.ctl(*arguments, code=None, stdin=stdin)
        if finished.code == 0:
            raise AssertionError(f"a failure was expected\n{finished}")
        return finished.out + finished.err

    def submit(self, spec, *options):
        """Submits a spec's text, waits, and returns the last object that --json printed."""
        return self.ctl("--json", "submit", "-", "--wait", *options, stdin=spec).json()[-1]

    def import_model(self, source, ref):
        return self.ctl("--json", "import", source, "--as", ref).json()[-1]

    def verify(self):
        """Fails if the store does not verify."""
        finished = self.ctl("--json", "verify", code=None)
        if finished.code != 0:
            raise AssertionError(f"the store does not verify\n{finished}")
        return finished.json()[-1]


def make_removable(folder):
    """The store's files and folders may be read-only."""
    for directory, _, _ in os.walk(folder):
        os.chmod(directory, 0o700)


def wait_for(condition, what, seconds=None):
    deadline = time.monotonic() + (seconds or PATIENCE)
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.01)
    return value
