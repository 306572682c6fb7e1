"""Settings for every test: generated examples are the same in every run and never timed."""

from hypothesis import settings

settings.register_profile("evomerge", deadline=None, derandomize=True)
settings.load_profile("evomerge")

pytest_plugins = ["tests.databases"]
