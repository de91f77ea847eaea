#!/usr/bin/env python3
"""The rules of ops/alerts.yml: Prometheus takes them, they do what their tests say, and they ask for nothing that no worker shows."""
import re
import shutil
import subprocess
import unittest

from commands_test import specified_metrics
from place import ROOT, main

RULES = ROOT / "ops/alerts.yml"
CASES = ROOT / "ops/alerts_test.yml"
NOT_OURS = {"up", "process_cpu_seconds_total"}  # Prometheus' own, and what each of its clients shows


def rules():
    """Name -> text of the rule, with its comments. The form is that of our own file."""
    _, *found = re.split(r"^ +- alert: ", re.sub(r"^  - name: .*\n", "", RULES.read_text(), flags=re.M), flags=re.M)
    return {text.split("\n", 1)[0]: text for text in found}


def expression(rule):
    """What stands behind `expr:`, in its line or in those below it."""
    return re.search(r"^ +expr: (?:\|-\n)?(.*?)\n +(?:for|labels): ", rule, re.M | re.S).group(1)


class Alerts(unittest.TestCase):
    def promtool(self, *arguments):
        if not shutil.which("promtool"):
            self.skipTest("promtool (package prometheus) is not installed")
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_prometheus_takes_the_rules(self):
        self.promtool("check", "rules", "--lint-fatal", RULES)

    def test_each_fires_when_it_should_and_not_else(self):
        self.promtool("test", "rules", CASES)

    def test_each_has_a_case_in_which_it_fires(self):
        self.assertEqual(set(re.findall(r'alertname="(\w+)"[^}]*}\', value: 1}', CASES.read_text())), set(rules()))

    def test_each_says_what_it_means_what_is_next_and_why_there(self):
        self.assertGreaterEqual(len(rules()), 12)
        for name, text in rules().items():
            with self.subTest(alert=name):
                self.assertRegex(text, r"severity: (page|ticket)}")
                self.assertRegex(text, r"\n +summary: \S")
                self.assertRegex(text, r"\n +description: >-\n(?s:.*)Next: [\w/`]")
                self.assertRegex(text.split("expr:")[0], r"\n +# \w", "a comment says why its threshold is what it is")

    def test_they_ask_for_metrics_and_labels_that_workers_show(self):
        specified = specified_metrics()
        metrics = set(specified)
        for name, text in rules().items():
            for metric, _, selected in re.findall(r"\b(sonder_\w+|up|process_\w+)\b({([^}]*)})?", expression(text)):
                with self.subTest(alert=name, metric=metric):
                    self.assertIn(metric, metrics | NOT_OURS)
                    for label, values in re.findall(r'(\w+)=~?"([^"]*)"', selected):
                        known = specified[metric]["labels"]
                        self.assertIn(label, known)
                        if known[label]:
                            self.assertLessEqual(set(values.split("|")), set(known[label]))
            # Named to people, as where to look next.
            for metric in re.findall(r"\bsonder_\w+", text):
                with self.subTest(alert=name, named=metric):
                    self.assertIn(metric, metrics)


if __name__ == "__main__":
    main()
