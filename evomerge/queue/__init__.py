"""The queue of a server: which search runs next, with how many workers, and what runs it.

`fair` decides (pure functions), `scheduler` carries it out, `controllers` are the processes.
"""
