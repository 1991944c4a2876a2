"""Mutants of all that a user may give: run folders, states of runs, words, options, files to prove."""
