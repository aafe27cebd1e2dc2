"""A job that was cancelled, or whose worker or daemon was killed, goes on from what it has done: evaluate on the real
model. The end is the same to the bit as that of a run which was never stopped."""

import json
import os
import re
import signal
import unittest

from harness import DEPS, Editd, wait_for

TYPE = "type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec"
WORDS = "the model reads a text and tells how likely each word of it was, một mô hình đọc văn bản và cho biết xác suất".split()


def documents(count):
    """Of different lengths, the same each time."""
    out, state = [], 1
    for _ in range(count):
        state = state * 1103515245 + 12345 & 0x7fffffff
        words = [WORDS[(state >> 7) * (k + 1) % len(WORDS)] for k in range(20 + state % 60)]
        out.append(json.dumps({"text": " ".join(words)}, ensure_ascii=False))
    return "\n".join(out) + "\n"


class Retry(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = Editd().__enter__()
        cls.addClassCleanup(cls.editd.__exit__, None, None, None)
        cls.editd.import_model(next((DEPS / "model").glob("*.gguf")), "smol")
        cls.editd.write("texts.jsonl", documents(40))

    def job(self, number):
        return self.editd.json("why", number)[0]["job"]

    def state(self, number):
        return self.job(number)["state"].removeprefix("JOB_STATE_")

    def attempt(self, number):
        return self.job(number).get("attempts", [{}])[-1]

    def wait_for_checkpoint(self, job, attempt):
        """The attempt has kept something."""
        wait_for((self.editd.state / f"staging/{job}.{attempt}/checkpoint").exists, "a checkpoint")

    def submit(self, *options, params='data { path: "texts.jsonl" } context: 64 stride: 64 batch: 2'):
        spec = self.editd.write("evaluate.pb", f'plugin: "evaluate" input {{ model: "smol" }} limits {{ threads: 1 max_attempts: 5 }} '
                                               f'params {{ [{TYPE}] {{ {params} }} }}')
        last = self.editd.json("submit", spec, *options)[-1]
        return int(last.get("job") or last["id"])

    def test_it_goes_on_after_a_kill_a_cancel_and_a_restart(self):
        editd = self.editd
        job = self.submit()
        # The worker is killed; the daemon tries again by itself.
        self.wait_for_checkpoint(job, 1)
        os.kill(int(self.attempt(job)["worker_pid"]), signal.SIGKILL)
        self.wait_for_checkpoint(job, 2)
        # Cancelled and tried again.
        editd.ctl("cancel", job)
        wait_for(lambda: self.state(job) == "CANCELLED", "the cancel")
        self.assertTrue((editd.state / f"checkpoints/{job}").exists())
        editd.ctl("retry", job)
        # The daemon is killed and starts again.
        self.wait_for_checkpoint(job, 3)
        editd.kill()
        editd.start()
        editd.ctl("watch", job)
        whole = self.job(job)
        self.assertEqual(whole["state"], "JOB_STATE_SUCCEEDED")
        self.assertEqual(len(whole["attempts"]), 4)
        wait_for(lambda: not (editd.state / f"checkpoints/{job}").exists(), "the checkpoint's end")

        # Each attempt said what was done before it, and began there: nothing was computed twice.
        attempt, told, progress, metrics = 0, {}, {}, []
        for event in editd.json("watch", job)[:-1]:  # The last is how it ended.
            attempt = max(attempt, int(event.get("state", {}).get("attempt", 0)))
            if match := re.search(r"goes on after (\d+) of 40 documents, (\d+) tokens", event.get("log", {}).get("text", "")):
                told[attempt] = (int(match[1]), int(match[2]))
            if event.get("progress", {}).get("phase") == "evaluate":
                progress.setdefault(attempt, []).append(int(event["progress"].get("done", 0)))
            if "metric" in event:
                metrics.append(event["metric"]["value"])
        self.assertEqual(sorted(told), [2, 3, 4])
        for after in (2, 3, 4):
            self.assertGreater(told[after][1], 0)
            self.assertEqual(progress[after][0], told[after][1], f"attempt {after} begins where the last one was")
        self.assertEqual(told[3][1], progress[2][-1], "a cancel keeps all that was done")
        self.assertLess(told[2], told[3])
        self.assertLess(told[3], told[4])
        self.assertGreater(told[4][0], 0, "finished documents")

        # The same without a stop.
        again = self.job(self.submit("--force", "--wait"))
        self.assertEqual(again["state"], "JOB_STATE_SUCCEEDED")
        self.assertEqual(len(again["attempts"]), 1)
        self.assertEqual(again["exported"], whole["exported"], "documents, by the hash of the file")
        results = [job["result"]["perplexity"][0] for job in (whole, again)]
        for result in results:
            for key in ("seconds", "tokens_per_second"):
                result.pop(key)
        self.assertEqual(*results)
        self.assertAlmostEqual(metrics[-1], results[0]["perplexity"], delta=1e-9 * results[0]["perplexity"])

    def test_questions_go_on_and_texts_before_them_are_done(self):
        editd = self.editd
        lines = [json.loads(line)["text"] for line in documents(43).splitlines()]
        editd.write("few.jsonl", documents(3))
        editd.write("questions.jsonl", "".join(
            json.dumps({"question": line, "choices": ["đúng", "sai", "not known at all"], "answer": number % 3}) + "\n"
            for number, line in enumerate(lines[3:])))
        params = ('data { path: "few.jsonl" } context: 96 stride: 96 batch: 2 '
                  'multiple_choice { questions { path: "questions.jsonl" } }')
        job = self.submit(params=params)
        with editd.popen("watch", job, "--json") as watch:
            for line in watch.stdout:
                if json.loads(line).get("progress", {}).get("phase") == "choices":
                    break
            editd.ctl("cancel", job)
            watch.communicate()
        wait_for(lambda: self.state(job) == "CANCELLED", "the cancel")
        editd.ctl("retry", job)
        editd.ctl("watch", job)
        whole = self.job(job)
        self.assertEqual(whole["state"], "JOB_STATE_SUCCEEDED")

        attempt, asked, logs = 0, {}, []
        for event in editd.json("watch", job)[:-1]:
            attempt = max(attempt, int(event.get("state", {}).get("attempt", 0)))
            logs.append(event.get("log", {}).get("text", ""))
            if event.get("progress", {}).get("phase") == "choices":
                asked.setdefault(attempt, []).append(int(event["progress"].get("done", 0)))
        self.assertTrue(any("goes on after 3 of 3 documents" in text for text in logs), logs)
        [told] = [match for text in logs if (match := re.search(r"goes on after (\d+) of 40 questions", text))]
        self.assertEqual(int(told[1]), asked[1][-1], "a cancel keeps all that was asked")
        self.assertEqual(asked[2][0], asked[1][-1])
        self.assertEqual(asked[2][-1], 40)

        again = self.job(self.submit("--force", "--wait", params=params))
        self.assertEqual(again["exported"], whole["exported"], "documents and questions, by the hashes of the files")
        scores = [one["result"]["multiple_choice"]["scores"][0] for one in (whole, again)]
        for score in scores:
            score.pop("seconds")
        self.assertEqual(*scores)


if __name__ == "__main__":
    unittest.main()
