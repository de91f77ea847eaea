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
OF_A_TARGET = {"job", "instance"}  # that Prometheus gives to all that it scrapes from one
NOT_OURS = {"up", "process_cpu_seconds_total", "process_start_time_seconds"}  # Prometheus' own, and what each of its clients shows


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

    def assert_labels_are_there(self, asked, shown, specified):
        """What the rule groups and matches by, and `shown` of its result, are labels of its metrics, or of where they come from."""
        of_metrics = [set(specified[m]["labels"]) for m in re.findall(r"\bsonder_\w+", asked)]
        known = set().union(*of_metrics) | OF_A_TARGET
        grouped = [set(re.findall(r"\w+", labels)) for labels in re.findall(r"\bby \(([^)]*)\)", asked)]
        for labels in grouped + [set(re.findall(r"\w+", labels)) for labels in re.findall(r"\b(?:on|ignoring|without) \(([^)]*)\)", asked)]:
            self.assertLessEqual(labels, known)
        if "absent(" in asked:
            known = set()
        elif grouped:
            known = set.intersection(*grouped)
        self.assertLessEqual(shown, known)

    def test_a_label_that_no_metric_of_a_rule_has_is_found(self):
        specified = specified_metrics()
        lag = "sonder_source_lag_seconds"
        self.assert_labels_are_there(f"sum by (job, topic) ({lag}) > 1", {"topic"}, specified)
        for asked, shown in ((f"sum by (topc) ({lag}) > 1", set()), (f"{lag} > 1 and on (job, node) up", set()), (f"{lag} > 1", {"stage"}),
                             (f"sum by (job) ({lag}) > 1", {"topic"}), ("absent(sonder_build_info)", {"instance"})):
            with self.subTest(asked=asked, shown=shown), self.assertRaises(AssertionError):
                self.assert_labels_are_there(asked, shown, specified)

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
            with self.subTest(alert=name):
                self.assert_labels_are_there(expression(text), set(re.findall(r"\$labels\.(\w+)", text)), specified)
            # Named to people, as where to look next.
            for metric in re.findall(r"\bsonder_\w+", text):
                with self.subTest(alert=name, named=metric):
                    self.assertIn(metric, metrics)


if __name__ == "__main__":
    main()
