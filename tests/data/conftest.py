"""Property tests try the same examples on every machine, and slow machines may be slow."""

import hypothesis

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=30)
hypothesis.settings.load_profile("repeatable")
