"""Candidates as models that others can use (`candidates`), and the card beside any merged model (`card`).

Two modules, so that a merge without a search loads nothing of the store.
"""
