"""Search files written for people: from an inspection, a first search with the reason for each choice.

What is chosen is where to start, not what is best: the reasons stand beside it in the file, and
docs/inspecting.md says which of them are rules of thumb.
"""

from evomerge.drafting.answers import Answers, AskedTask, task_of
from evomerge.drafting.choice import Choices, choose_search
from evomerge.drafting.text import draft

__all__ = ["Answers", "AskedTask", "Choices", "choose_search", "draft", "task_of"]
