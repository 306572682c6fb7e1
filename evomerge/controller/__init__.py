"""The controller: replay, ask, dispatch, tell, stop. Never needs torch."""

from evomerge.controller.core import Controller
from evomerge.controller.events import Event, Listener, Note, PhaseStarted, Scored

__all__ = ["Controller", "Event", "Listener", "Note", "PhaseStarted", "Scored"]
