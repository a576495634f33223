"""run.py [MODULE...] - run the tests, one line of result each: `ok NAME`, `skip NAME: REASON`,
`fail NAME` and then the story, indented.

The last line is `ran N`: a run that broke off lacks it.
"""

import sys
import unittest

import support


class Lines(unittest.TestResult):
    def name(self, test):
        return test.id() if hasattr(test, "id") else str(test)

    def say(self, verdict, test, more=""):
        print(f"{verdict} {self.name(test)}{more}", flush=True)

    def addSuccess(self, test):
        self.say("ok", test)

    def addSkip(self, test, reason):
        self.say("skip", test, f": {reason}")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        story = self._exc_info_to_string(error, test).rstrip().replace("\n", "\n    ")
        self.say("fail", test, f"\n    {story}")

    addError = addFailure

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.addFailure(subtest, error)

    def addUnexpectedSuccess(self, test):
        self.say("fail", test, ": succeeded unexpectedly")


def main(names):
    modules = names or sorted(path.stem for path in support.HERE.glob("test_*.py"))
    suite = unittest.defaultTestLoader.loadTestsFromNames(modules)
    result = Lines()
    suite.run(result)
    print(f"ran {result.testsRun}")


if __name__ == "__main__":
    main(sys.argv[1:])
