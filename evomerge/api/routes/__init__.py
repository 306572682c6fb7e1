"""The routes, a file for each thing that one may ask about."""
