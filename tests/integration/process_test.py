"""The daemon as a process: signals, the service manager's protocol, sockets that are handed over, and what it starts."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import tiny_model
from harness import PATIENCE, TEST_PLUGINS, Editd, wait_for


def noop(milliseconds=0, seed=0):
    return f"""plugin: "noop" seed: {seed}
        params {{ [type.googleapis.com/editd.tests.noop.v1.NoopSpec] {{ sleep_milliseconds: {milliseconds} }} }}"""


class Running(unittest.TestCase):
    """A daemon with jobs, and its workers."""

    def setUp(self):
        self.editd = self.enterContext(Editd(config=TEST_PLUGINS + "cancel_grace = 1 s\n"))

    def submit(self, milliseconds, seed=0):
        return self.editd.ctl("--json", "submit", "-", stdin=noop(milliseconds, seed)).json()[-1]["id"]

    def job(self, number):
        return self.editd.json("why", number)[-1]["job"]

    def running(self, number):
        return wait_for(lambda: self.job(number)["state"] == "JOB_STATE_RUNNING", f"job {number} to run")

    def workers(self):
        found = []
        for task in pathlib.Path(f"/proc/{self.editd.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += map(int, (task / "children").read_text().split())
        return found

    def ended(self):
        """Waits for the daemon's end, which must be a good one and leave no worker."""
        workers = self.workers_before
        self.assertEqual(self.editd.process.wait(PATIENCE), 0, self.editd.log.read_text()[-3000:])
        self.editd.process = None
        self.assertEqual([pid for pid in workers if pathlib.Path(f"/proc/{pid}").exists()], [])

    def send(self, number):
        self.workers_before = self.workers()
        self.editd.process.send_signal(number)


class Signals(Running):
    def test_sigterm_lets_the_running_job_end_and_starts_no_other(self):
        first, second = self.submit(int(25 * PATIENCE), seed=1), self.submit(0, seed=2)
        self.running(first)
        self.send(signal.SIGTERM)
        wait_for(lambda: self.editd.json("daemon", "status")[0]["draining"], "draining")
        self.assertIn("about to end", self.editd.refused("submit", "-", stdin=noop(seed=3)))
        self.assertIn("about to end", self.editd.ctl("why", second).out)
        self.ended()
        self.assertIn("SIGTERM from pid", self.editd.log.read_text())
        self.editd.start()
        self.assertEqual(self.job(first)["state"], "JOB_STATE_SUCCEEDED")
        self.assertEqual(len(self.job(first)["attempts"]), 1)
        wait_for(lambda: self.job(second)["state"] == "JOB_STATE_SUCCEEDED", "the second job")
        self.editd.verify()

    def test_a_second_sigterm_ends_at_once_and_the_job_runs_again(self):
        job = self.submit(60_000)
        self.running(job)
        self.send(signal.SIGTERM)
        wait_for(lambda: self.editd.json("daemon", "status")[0]["draining"], "draining")
        self.assertIsNone(self.editd.process.poll())
        self.send(signal.SIGTERM)
        self.ended()
        self.editd.start()
        self.running(job)
        attempts = self.job(job)["attempts"]
        self.assertEqual([a["exit_class"] for a in attempts], ["EXIT_CLASS_INTERRUPTED", "EXIT_CLASS_UNSPECIFIED"])
        self.editd.ctl("cancel", job)

    def test_sigint_ends_at_once(self):
        job = self.submit(60_000)
        self.running(job)
        self.send(signal.SIGINT)
        self.ended()
        self.editd.start()
        self.running(job)
        self.editd.ctl("cancel", job)

    def test_sighup_changes_nothing_and_says_so(self):
        job = self.submit(int(10 * PATIENCE))
        self.running(job)
        self.send(signal.SIGHUP)
        wait_for(lambda: "SIGHUP: the configuration is read at start only" in self.editd.log.read_text(), "the line in the log")
        wait_for(lambda: self.job(job)["state"] == "JOB_STATE_SUCCEEDED", "the job")
        self.assertEqual(len(self.job(job)["attempts"]), 1)

    def test_a_worker_does_not_outlive_a_killed_daemon(self):
        job = self.submit(60_000)
        self.running(job)
        workers = self.workers()
        self.assertTrue(workers)
        self.editd.kill()
        wait_for(lambda: not any(alive(pid) for pid in workers), "the workers' end")
        self.editd.start()
        self.running(job)
        self.assertEqual(self.job(job)["attempts"][0]["exit_class"], "EXIT_CLASS_INTERRUPTED")
        self.editd.ctl("cancel", job)


def alive(pid):
    """A process that is there and no zombie that waits for its new parent."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class ServiceManager(unittest.TestCase):
    """What systemd does, and what it is told (sd_notify, LISTEN_FDS)."""

    def told(self, manager):
        return manager.recv(4096).decode().splitlines()

    def follow(self, manager, environment):
        """Starts and ends a daemon; returns what it told, a list of lines each."""
        editd = Editd()
        try:
            manager.settimeout(PATIENCE)
            editd.launch({"NOTIFY_SOCKET": environment})
            ready = self.told(manager)
            self.assertTrue(editd.answers(), "it said READY=1 before it listened")
            editd.ctl("daemon", "status")
            editd.process.send_signal(signal.SIGTERM)
            stopping = self.told(manager)
            self.assertEqual(editd.process.wait(PATIENCE), 0)
            return ready, stopping
        finally:
            editd.__exit__(None, None, None)

    def test_readiness_and_the_end_are_told(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(f"{folder}/notify")
            ready, stopping = self.follow(manager, f"{folder}/notify")
        self.assertIn("READY=1", ready)
        self.assertIn("STOPPING=1", stopping)

    def test_an_abstract_socket_is_told_too(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(f"\0editd-test-{os.getpid()}")
            ready, stopping = self.follow(manager, f"@editd-test-{os.getpid()}")
        self.assertIn("READY=1", ready)
        self.assertIn("STOPPING=1", stopping)

    def test_a_socket_that_nobody_reads_holds_nothing_up(self):
        editd = Editd()
        try:
            editd.start({"NOTIFY_SOCKET": str(editd.path("nobody"))})
            editd.stop()
        finally:
            editd.__exit__(None, None, None)

    def test_sockets_are_taken_over(self):
        """Who connects before the daemon is there waits for it; its end leaves the sockets to their owner."""
        editd = Editd()
        editd.state.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as service, \
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as transfer:
            for listener, name in ((service, "editd.sock"), (transfer, "transfer.sock")):
                listener.bind(str(editd.state / name))
                listener.listen(16)
            try:
                for round_ in range(2):
                    early = editd.popen("--json", "daemon", "status")
                    time.sleep(0.2)
                    self.assertIsNone(early.poll(), "the client does not wait")
                    self.launch_with(editd, service, transfer)
                    out, err = early.communicate(timeout=PATIENCE)
                    self.assertEqual(early.returncode, 0, out + err)
                    self.assertIn(f'"pid":{editd.process.pid}', out)
                    # Over both sockets: the import's files go over the second.
                    editd.import_model(tiny_model.write(editd.path(f"tiny{round_}")), f"tiny{round_}")
                    editd.stop()
                    for name in ("editd.sock", "transfer.sock"):
                        self.assertTrue((editd.state / name).exists(), name)
                self.launch_with(editd, service, transfer)
                self.assertEqual({m["ref"]["name"] for m in editd.json("models")}, {"tiny0", "tiny1"})
            finally:
                editd.__exit__(None, None, None)

    def launch_with(self, editd, service, transfer):
        """As systemd does: descriptors 3 and 4, and a process id that only exec keeps."""
        with editd.log.open("ab") as log:
            editd.process = subprocess.Popen(
                ["bash", "-c", f"exec 3<&{service.fileno()} 4<&{transfer.fileno()}; "
                 f'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=editd:transfer exec "$@"',
                 "bash", editd.programs / "editd", "--config", editd.config, "--state-dir", editd.state],
                pass_fds=(service.fileno(), transfer.fileno()), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=editd.environment())

    def test_sockets_for_another_process_are_left_alone(self):
        editd = Editd()
        try:
            editd.start({"LISTEN_PID": "1", "LISTEN_FDS": "2"})
            editd.stop()
        finally:
            editd.__exit__(None, None, None)


del Running  # Not a test of its own.

if __name__ == "__main__":
    unittest.main()
