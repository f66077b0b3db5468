"""Campaigns: the promises of the README, attacked by many tries at random and by real processes.

`./run campaign NAME` runs one at its full size; `./run test` runs each at its small one. A campaign is
a module here with two sizes, FULL and SMALL, and `run(environment, size, report)`. What it found, and
whether its own eyes are open (the positive control), goes into the report.
"""
