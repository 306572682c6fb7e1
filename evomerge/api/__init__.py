"""The HTTP service: a shell over `evomerge.service`, `queue`, `results` and `report`.

`make_app` gives the application; fastapi and uvicorn are loaded here and in the dashboard alone.
"""
