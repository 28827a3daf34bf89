"""How fast and how large Tollhouse is, beside what the engines below it can do at most: `python -m benchmarks`.

Every figure stands next to its target and, where there is one, next to a raw limit that is measured in the same run
on the same machine, because only such a ratio means anything elsewhere. Nothing here asserts a time.
"""
